"""The bounded queue: what it takes, what it refuses, what comes too late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from fleetseg.web.problems import Problem
from fleetseg.web.work_queue import WorkQueue

LONG = 60.0


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def soon(seconds: float = LONG) -> float:
    return time.monotonic() + seconds


def test_results_belong_to_their_jobs() -> None:
    async def many() -> None:
        queue = WorkQueue(3, 100)
        results = await asyncio.gather(*(queue.run(lambda _alone, i=i: i * i, soon()) for i in range(100)))
        assert results == [i * i for i in range(100)]
        assert queue.waiting == 0
        queue.close()

    run(many())


def test_what_does_not_fit_is_refused_and_the_rest_is_done() -> None:
    async def overload() -> None:
        queue, gate = WorkQueue(2, 3), threading.Event()
        jobs = [asyncio.create_task(queue.run(lambda _alone: gate.wait(LONG), soon())) for _ in range(5)]
        await asyncio.sleep(0)
        assert queue.waiting == 3
        with pytest.raises(Problem) as refused:
            await queue.run(lambda _alone: True, soon())
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        gate.set()
        assert await asyncio.gather(*jobs) == [True] * 5
        assert await queue.run(lambda _alone: "again", soon()) == "again"
        queue.close()

    run(overload())


def test_a_late_job_is_answered_and_one_that_waits_never_begins() -> None:
    async def late() -> None:
        queue, gate, begun = WorkQueue(1, 3), threading.Event(), []
        # Time enough to begin on a machine that is busy with other things.
        running = asyncio.create_task(queue.run(lambda _alone: gate.wait(LONG), soon(2)))
        waiting = asyncio.create_task(queue.run(lambda _alone: begun.append(1), soon(0.05)))
        for job in (running, waiting):
            with pytest.raises(Problem) as problem:
                await job
            assert problem.value.status == 504
        assert queue.waiting == 1  # the worker is still busy, and honestly counted so
        gate.set()
        assert await queue.run(lambda _alone: "next", soon()) == "next"
        assert not begun
        queue.close()

    run(late())


def test_only_a_job_without_company_may_take_all_processors() -> None:
    async def company() -> None:
        queue, gate = WorkQueue(2, 3), threading.Event()
        assert await queue.run(lambda alone: alone, soon()) is True
        first = asyncio.create_task(queue.run(lambda _alone: gate.wait(LONG), soon()))
        await asyncio.sleep(0)
        assert await queue.run(lambda alone: alone, soon()) is False
        gate.set()
        await first
        queue.close()

    run(company())


def test_a_failure_is_its_own_jobs_alone() -> None:
    async def failing() -> None:
        queue = WorkQueue(1, 3)
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda _alone: 1 // 0, soon())
        assert await queue.run(lambda _alone: 1, soon()) == 1
        queue.close()

    run(failing())
