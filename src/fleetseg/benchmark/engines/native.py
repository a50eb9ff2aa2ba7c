"""The library that fleetseg compiles."""

from __future__ import annotations

import json
import statistics

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job
from fleetseg.compilation import PRECISIONS
from fleetseg.runtime.native_engine import NativeEngine

FORMS = dict.fromkeys(PRECISIONS, ("library",))


def prepare(job: Job) -> None:
    """Compile it: the C file, the library and its description."""
    from fleetseg.compilation import compile

    compile(job.checkpoint, job.size(), job.own, precision=job.precision, threads=job.threads)


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Open the library and make an instance."""
    return open_library(job).classes


def open_library(job: Job) -> NativeEngine:
    """An instance of the job's library."""
    return NativeEngine(_description(job), job.own, job.threads)


def profile(engine: NativeEngine, image: Image, trials: int) -> list[float]:
    """Milliseconds of each kernel, the median over `trials`."""
    times = [engine.profile(image)[1] for _ in range(trials)]
    return [1e3 * statistics.median(column) for column in zip(*times, strict=True)]


def kernels(job: Job) -> list[dict[str, object]]:
    """What the library says about its kernels."""
    found: list[dict[str, object]] = _description(job)["kernels"]  # type: ignore[assignment]
    return found


def _description(job: Job) -> dict[str, object]:
    (path,) = job.own.glob("*.json")
    found: dict[str, object] = json.loads(path.read_text())
    return found
