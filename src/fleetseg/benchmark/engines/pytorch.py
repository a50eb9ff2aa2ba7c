"""PyTorch as it is, one operation after another, maps in channels_last."""

from __future__ import annotations

import torch

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.benchmark.wrapped import Wrapped
from fleetseg.models.checkpoint import load_checkpoint

FORMS = {"fp32": ("eager",), "bf16": ("weights in bf16", "autocast")}


def prepare(job: Job) -> None:
    """Nothing: the checkpoint is all it needs."""


def load(job: Job, form: str) -> Run:
    """Read the checkpoint."""
    torch.set_num_threads(job.threads)
    module = read_wrapped(job, torch.bfloat16 if form == "weights in bf16" else torch.float32)

    def classes(image: Image) -> Mask:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=form == "autocast"):
            found: Mask = module(torch.from_numpy(image)).numpy()
        return found

    return classes


def read_wrapped(job: Job, stored: torch.dtype) -> torch.nn.Module:
    """The job's network from image to classes, its weights in that element type and in channels_last."""
    network, metadata = load_checkpoint(job.checkpoint)
    wrapped = Wrapped(network, metadata.normalisation, stored=stored, arg_max=True)
    return wrapped.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
