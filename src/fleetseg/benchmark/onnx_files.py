"""The ONNX files that several engines read: shapes fixed, constants folded."""

from __future__ import annotations

from pathlib import Path

import torch

from fleetseg.benchmark.job import Job
from fleetseg.benchmark.paths import Part, onnx_path
from fleetseg.benchmark.wrapped import Wrapped
from fleetseg.exporters.onnx import export_fixed, fold_constants
from fleetseg.models.checkpoint import load_checkpoint


def onnx_file(job: Job, part: Part) -> Path:
    """Write that part of the job's network, unless an engine before did; returns its path."""
    path = onnx_path(job, part)
    if path.is_file():
        return path
    network, metadata = load_checkpoint(job.checkpoint)
    width, height = job.size()
    if part == "network":
        export_fixed(network, torch.zeros(1, 3, height, width), path, "image", "logits")
    else:
        wrapped = Wrapped(network, metadata.normalisation, arg_max=part == "image-to-classes")
        export_fixed(wrapped, torch.zeros(height, width, 3, dtype=torch.uint8), path, "image", part.split("-")[-1])
    fold_constants(path)
    return path
