"""The process in which one engine lives: `python -m fleetseg.benchmark.worker JOB`, a request a line, a reply a line.

Requests are JSON objects with the key "do": "prepare", "load", "run", "profile" or "memory". A reply has the answer's
keys, or "error" with a sentence. Whatever the engine prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fleetseg.benchmark.engines import Run, engine_module
from fleetseg.benchmark.job import Job
from fleetseg.errors import FleetsegError

#: The class map of the first run, in the engine's own folder.
MAP = "map.npy"

#: Runs that decide between an engine's forms, after as many that warm up.
_TRIALS_OF_FORMS = 5

#: Milliseconds of a run of which there need not be as many.
_SLOW_MS = 500


class Worker:
    """Answers requests about one engine."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._image = job.image()
        job.register_users_networks()
        self._run: Run | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request; errors become its "error"."""
        handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "prepare": self._prepare,
            "load": self._load,
            "run": self._time,
            "profile": self._profile,
            "memory": self._memory,
        }
        try:
            return handlers[request["do"]](request)
        except FleetsegError as error:
            return {"error": str(error)}
        except Exception as error:  # what engines raise has no common base class
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return {"error": f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"[:300]}

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as all handlers
        """Write the engine's files and find its quickest form."""
        module = engine_module(self._job.engine)
        module.prepare(self._job)
        forms = module.FORMS[self._job.precision]
        if len(forms) == 1:
            return {"form": forms[0]}
        medians = {}
        for form in forms:
            run = module.load(self._job, form)
            # A form that takes a second is told from another by one run after a first.
            slow = self._times(run, 1, 1)
            runs = 0 if slow[0] > _SLOW_MS else _TRIALS_OF_FORMS
            medians[form] = statistics.median(self._times(run, runs, runs) or slow)
        return {"form": min(medians, key=lambda form: medians[form])}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load the engine and store its class map of the image."""
        module = engine_module(self._job.engine)
        started = time.perf_counter()
        run = module.load(self._job, request["form"])
        found = run(self._image)
        milliseconds = 1e3 * (time.perf_counter() - started)
        np.save(self._job.own / MAP, np.ascontiguousarray(found))
        self._run = run
        return {"first_result_ms": milliseconds}

    def _time(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._run is not None
        return {"milliseconds": self._times(self._run, request["warm_up"], request["trials"])}

    def _times(self, run: Run, warm_up: int, trials: int) -> list[float]:
        """Milliseconds of each trial."""
        for _ in range(warm_up):
            run(self._image)
        times = []
        gc.collect()
        gc.disable()
        try:
            for _ in range(trials):
                started = time.perf_counter_ns()
                run(self._image)
                times.append(1e-6 * (time.perf_counter_ns() - started))
        finally:
            gc.enable()
        return times

    def _profile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Milliseconds of each kernel that runs for a class map; the native engine alone can say."""
        from fleetseg.benchmark.engines import native

        library = native.open_library(self._job)
        self._times(library.classes, request["warm_up"], 1)
        milliseconds = native.profile(library, self._image, request["trials"])
        kernels = [
            {**kernel, "ms": ms}
            for kernel, ms in zip(native.kernels(self._job), milliseconds, strict=True)
            if kernel["when"] != "logits"
        ]
        return {"kernels": kernels}

    def _memory(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as all handlers
        return {"peak_memory_mb": peak_memory() / 1e6}


def peak_memory() -> int:
    """The largest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    # Bytes on macOS, the only other system with processes that can be stopped as ours are.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def die_with_parent() -> None:
    """Ask Linux to end this process if its parent dies: it may be stopped then, and nobody would ever wake it."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def main() -> None:
    """Serve until stdin ends."""
    die_with_parent()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(Job.from_json(sys.argv[1]))
    for line in sys.stdin:
        replies.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
