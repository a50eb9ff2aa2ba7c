"""torch.compile with freezing: C++ generated and compiled at the first call, weights prepacked."""

from __future__ import annotations

import torch
import torch._inductor.config

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.engines.pytorch import read_wrapped
from fleetseg.benchmark.job import Image, Job, Mask

FORMS = {"fp32": ("freezing",), "bf16": ("freezing, weights in bf16",)}


def prepare(job: Job) -> None:
    """Nothing: it compiles at the first call, and that is part of its first result."""


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Read the checkpoint; the first call compiles."""
    torch.set_num_threads(job.threads)
    # For the process: given as an option of one compilation, it comes too late and freezes nothing.
    torch._inductor.config.freezing = True
    module = read_wrapped(job, torch.bfloat16 if job.precision == "bf16" else torch.float32)
    compiled = torch.compile(module, dynamic=False)

    def classes(image: Image) -> Mask:
        # Freezing only happens where no gradient can be asked for.
        with torch.no_grad():
            found: Mask = compiled(torch.from_numpy(image)).numpy()
        return found

    return classes
