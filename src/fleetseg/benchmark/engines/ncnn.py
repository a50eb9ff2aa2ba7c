"""ncnn, with a model that pnnx makes. It knows no logical operations, so ENet's un-pooling is beyond it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import ncnn
import numpy as np

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.errors import BenchmarkError
from fleetseg.runtime.decision import best_class

FORMS = {"fp32": ("network, arg-max",)}


def prepare(job: Job) -> None:
    """Convert the network; `BenchmarkError` if ncnn lacks one of its layers."""
    import pnnx
    import torch

    from fleetseg.models.checkpoint import load_checkpoint

    width, height = job.size()
    network, _ = load_checkpoint(job.checkpoint)
    # pnnx writes beside the file and into the current folder.
    with contextlib.chdir(job.own):
        pnnx.export(network, "network.pt", (torch.rand(1, 3, height, width),), fp16=False)
    _network(job)


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Read the network; float32 everywhere."""
    network = _network(job)
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


def _network(job: Job) -> ncnn.Net:
    network = ncnn.Net()
    options = network.opt
    options.num_threads = job.threads
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
    parameters, weights = (job.own / f"network.ncnn.{suffix}" for suffix in ("param", "bin"))
    if network.load_param(str(parameters)) != 0:
        raise BenchmarkError(f"ncnn has no {_unknown_layer(parameters)}, which the network needs")
    if network.load_model(str(weights)) != 0:
        raise BenchmarkError("ncnn cannot read the weights that pnnx wrote")
    return network


def _unknown_layer(parameters: Path) -> str:
    """Layers of ncnn's own have no dot in their names; those that pnnx could not translate have."""
    if parameters.is_file():
        for line in parameters.read_text().splitlines()[2:]:
            name = line.split(maxsplit=1)[0] if line.strip() else ""
            if "." in name:
                return f"layer '{name}'"
    return "layer of some kind"
