"""Workers behind a bounded queue: what cannot start soon is refused at once."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fleetseg.web.problems import Problem

Result = TypeVar("Result")

#: Weight of the newest job in the running mean of how long jobs take.
_NEWEST = 0.1


class WorkQueue:
    """Runs jobs in `workers` threads; at most `limit` wait. Submitted to from one event loop only."""

    def __init__(self, workers: int, limit: int) -> None:
        self.workers, self.limit = workers, limit
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="segment")
        self._pending = 0  # submitted and not finished; the event loop alone counts
        self._running = 0
        self._running_lock = threading.Lock()
        self._mean_seconds = 0.05

    @property
    def waiting(self) -> int:
        """Jobs that no worker has begun."""
        return max(0, self._pending - self.workers)

    def check_room(self) -> None:
        """`Problem` 429 if a job handed in now would not be taken."""
        if self._pending >= self.limit + self.workers:
            seconds = max(1, math.ceil(self._pending * self._mean_seconds / self.workers))
            raise Problem("overloaded", f"{self.waiting} requests wait already; try again in {seconds} s", seconds)

    async def run(self, work: Callable[[bool], Result], deadline: float) -> Result:
        """Run `work` in a worker thread; it is told whether it is the only job, so that it may take all processors.

        `deadline` is a time of `time.monotonic`: a job that has not begun by then never does, and one that has not
        finished is answered without its result. `Problem` 429 without room, 504 after the deadline.
        """
        self.check_room()
        job = _Job(self, work, deadline)
        self._pending += 1
        future: asyncio.Future[Result] = asyncio.get_running_loop().run_in_executor(self._threads, job)
        future.add_done_callback(self._finished)
        try:
            return await asyncio.wait_for(asyncio.shield(future), max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            raise _late() from None
        finally:
            # Nobody waits any more, be it for lateness or because the caller went away.
            job.unwanted = True

    def close(self) -> None:
        """End the threads; jobs that have not begun never do."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self) -> bool:
        """A worker begins; returns whether it is alone."""
        with self._running_lock:
            self._running += 1
            return self._running == 1 and self._pending <= 1

    def end(self, seconds: float) -> None:
        """A worker is done after so many seconds."""
        with self._running_lock:
            self._running -= 1
            self._mean_seconds += _NEWEST * (seconds - self._mean_seconds)

    def _finished(self, future: asyncio.Future[Result]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that a failure after the deadline is no "never retrieved" warning


class _Job:
    """A callable that refuses to start when it comes too late."""

    def __init__(self, queue: WorkQueue, work: Callable[[bool], Result], deadline: float) -> None:
        self._queue, self._work, self._deadline = queue, work, deadline
        self.unwanted = False

    def __call__(self) -> Result:  # type: ignore[type-var]
        if self.unwanted or time.monotonic() > self._deadline:
            raise _late()
        alone = self._queue.begin()
        started = time.perf_counter()
        try:
            return self._work(alone)  # type: ignore[return-value]
        finally:
            self._queue.end(time.perf_counter() - started)


def _late() -> Problem:
    return Problem("took-too-long", "the answer was not ready within the time limit; send a smaller image or try later")
