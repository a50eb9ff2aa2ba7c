"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from fleetseg.app.batches.image_worker import ImageWorker
from fleetseg.app.batches.items import Item, Record
from fleetseg.app.batches.job import Job
from fleetseg.errors import FleetsegError

#: So many deaths without an image between them are no image's fault.
_DEATHS = 5


class LocalWorkers:
    """A process an engine, started when the first image comes."""

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count

    def run(self, items: Iterable[Item], alone: bool) -> Iterator[Record]:
        """Records as they come, in any order. What was in work when a worker died is left out; `alone`: one image at a
        time, so that only the image that kills its worker is.
        """
        waiting = iter(items)
        count = 1 if alone else self._count
        most = 1 if alone else 2 * count  # the next image is at hand when one is finished
        pool: ProcessPoolExecutor | None = None
        running: set[Future[Record]] = set()
        deaths = 0
        try:
            while True:
                broken = False
                while len(running) < most and not broken and (item := next(waiting, None)) is not None:
                    pool = pool or self._pool(count)
                    try:
                        running.add(pool.submit(_label, item))
                    except BrokenProcessPool:
                        broken = True
                if not running and not broken:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                broken = broken or any(isinstance(future.exception(), BrokenProcessPool) for future in done)
                if broken:  # then the others fail as well, now or soon
                    done, running = done | wait(running).done, set()
                whole = [future for future in done if not isinstance(future.exception(), BrokenProcessPool)]
                yield from (future.result() for future in whole)
                if broken:
                    _end(pool)
                    pool = None
                deaths = 0 if whole else deaths + broken
                if deaths == _DEATHS and not alone:
                    raise FleetsegError(
                        f"worker processes died {deaths} times in a row, perhaps for want of memory; "
                        "use fewer --workers"
                    )
        finally:
            _end(pool)

    def _pool(self, count: int) -> ProcessPoolExecutor:
        # Not fork: engines and fsspec have threads, whose locks a fork would copy as they stand.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(count, context, initializer=_begin, initargs=(self._job,))


def _end(pool: ProcessPoolExecutor | None) -> None:
    if pool is not None:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: ImageWorker


def _begin(job: Job) -> None:
    global _worker
    # Ctrl-C reaches all processes of a terminal; the starter decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    _worker = ImageWorker(job)


def _end_with_the_starter() -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        multiprocessing.connection.wait([starter.sentinel])
        os._exit(1)


def _label(item: Item) -> Record:
    return _worker(item)
