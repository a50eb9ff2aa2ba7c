"""Several instances of one network: one that takes all processors, and one a worker that takes a single one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleetseg.runtime import Model

#: A number of threads → a freshly loaded network.
Loader = Callable[[int], Model]


class Lanes:
    """Lends loaded networks to workers.

    A request that is alone gets the instance with all threads: the lowest latency. Under load every worker gets one
    of its own with a single thread: no waiting at barriers, the highest throughput. They are loaded when they are
    first needed, and their answers are the same.
    """

    def __init__(self, load: Loader, workers: int) -> None:
        self._load, self._workers = load, workers
        self._wide = load(workers)
        self._wide_lock = threading.Lock()
        self._free: list[Model] = []
        self._free_lock = threading.Lock()

    @property
    def model(self) -> Model:
        """One of the instances, for asking what it is."""
        return self._wide

    @contextmanager
    def lend(self, alone: bool) -> Iterator[Model]:
        """A network that nobody else uses until the block ends."""
        if (alone or self._workers == 1) and self._wide_lock.acquire(blocking=False):
            try:
                yield self._wide
            finally:
                self._wide_lock.release()
            return
        with self._free_lock:
            model = self._free.pop() if self._free else None
        model = model or self._load(1)
        try:
            yield model
        finally:
            with self._free_lock:
                self._free.append(model)
