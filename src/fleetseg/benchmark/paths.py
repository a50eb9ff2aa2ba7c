"""Where the ONNX files of a job lie: known to engines, which must not import torch for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fleetseg.benchmark.job import Job

#: Image → classes; image → logits; normalised image (1, 3, H, W) → logits (1, C, rows, columns).
Part = Literal["image-to-classes", "image-to-logits", "network"]


def onnx_path(job: Job, part: Part) -> Path:
    """The file of that part of the network."""
    return Path(job.folder) / f"{part}.onnx"
