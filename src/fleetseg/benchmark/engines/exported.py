"""A file that `fleetseg export` wrote, or a checkpoint, on the engine that it is for: from a uint8 image to logits.

Not among the engines of `fleetseg benchmark`: it times files as they are, `benchmarks/export_latency.py` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Job
from fleetseg.runtime import load as load_model

#: None: the form that a worker is told to load is the file's path.
FORMS: Mapping[str, tuple[str, ...]] = {}


def prepare(job: Job) -> None:
    """Nothing: the file is there."""


def load(job: Job, form: str) -> Run:
    """Open the file `form`; its ends stay as they are, so a file of logits gives logits."""
    model: Any = load_model(form, threads=job.threads)
    run: Run = getattr(model, "raw", model.logits)
    return run
