"""ncnn, with a model that `fleetseg export` writes: comparisons, which ncnn has none of, are arithmetic there."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.metadata import ExportedForm
from fleetseg.runtime.decision import best_class
from fleetseg.runtime.ncnn_engine import opened

FORMS = {"fp32": ("network, arg-max",)}


def prepare(job: Job) -> None:
    """Convert the network; `ExportError` if ncnn lacks one of its layers."""
    from fleetseg.exporters.ncnn import write
    from fleetseg.exporters.source import source_of
    from fleetseg.models.checkpoint import load_checkpoint

    network, metadata = load_checkpoint(job.checkpoint)
    write(source_of(network, metadata, ExportedForm(format="ncnn", size=job.size())), _path(job))


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Read the network; float32 everywhere."""
    network = opened(_path(job), job.threads)
    normalisation, (width, height) = job.metadata().normalisation, job.size()
    pixels = ncnn.Mat.PixelType
    kind = pixels.PIXEL_RGB2BGR if normalisation.order == "bgr" else pixels.PIXEL_RGB
    mean = list(normalisation.mean)
    factors = [normalisation.scale / std for std in normalisation.std]

    def classes(image: Image) -> Mask:
        source = ncnn.Mat.from_pixels(image, kind, width, height)
        source.substract_mean_normalize(mean, factors)
        extractor = network.create_extractor()
        extractor.input("in0", source)
        _, logits = extractor.extract("out0")
        return best_class(iter(np.asarray(logits)))

    return classes


def _path(job: Job) -> Path:
    return job.own / "network.param"
