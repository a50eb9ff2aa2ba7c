"""What is timed: a network, an image, and the class map that PyTorch gives for it in float32."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from fleetseg.benchmark.job import CHECKPOINT, IMAGE, METADATA, REFERENCE, USERS_NETWORKS
from fleetseg.benchmark.wrapped import Wrapped
from fleetseg.compilation import read_network
from fleetseg.data.scene_dataset import Scenes
from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.image import resize_image
from fleetseg.metadata import ModelMetadata, metadata_for
from fleetseg.models import SegmentationNetwork, build_network, network_names
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.models.cost import multiply_adds
from fleetseg.runtime import packaged_models
from fleetseg.variants import VARIANTS, is_users

#: Width and height of the scenes from which a network with random weights gets its BatchNorm statistics.
_STATISTICS_SIZE = (240, 180)


@dataclass(frozen=True)
class Subject:
    """A network at one size, written to a folder for the workers."""

    model: str
    size: tuple[int, int]
    folder: Path
    #: Useful multiply-adds for one image.
    macs: int
    random_weights: bool


def read_subject(model: str, classes: int) -> tuple[SegmentationNetwork, ModelMetadata, bool]:
    """The network of a MODEL word, its metadata, and whether its weights are random.

    `model` is what compiling takes, or the name of a registered network, a variant or a user's network, which gets
    random weights and `classes` classes.
    A packaged name wins, then a registered one. `UsageError` for anything else, or if its images are not RGB.
    """
    names = (*network_names(), *VARIANTS)
    if (model in names or is_users(model)) and model not in packaged_models():
        network = random_network(model, classes)
        return network, _numbered(network), True
    try:
        module, metadata = read_network(model)
    except UnknownNameError as error:
        raise UnknownNameError("network", error.name, (*packaged_models(), *names)) from None
    if metadata.network.in_channels != 3:
        raise UsageError(f"{model}: sees {metadata.network.in_channels} channels; networks of RGB images are timed")
    return cast(SegmentationNetwork, module), metadata, False


def random_network(name: str, classes: int) -> SegmentationNetwork:
    """A registered network with random weights, the same in every call.

    Its BatchNorm statistics come from two scenes: without them values grow from layer to layer, and the smaller
    element types would be judged by numbers that no trained network has.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(name, classes)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # a plain mean of all batches
        images = [scene("train", index, _STATISTICS_SIZE) for index in range(2)]
        normalisation = _numbered(network).normalisation
        batch = torch.from_numpy(np.concatenate([normalisation.apply(image) for image in images]))
        with torch.no_grad():
            network.train()(batch)
    return network.eval()


def _numbered(network: SegmentationNetwork) -> ModelMetadata:
    """Metadata of a network that was trained on nothing."""
    names = [f"class {index}" for index in range(network.num_classes)]
    return metadata_for(spec_of(network), network.registered_name, names)


def scene(split: str, index: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A built-in street scene, resized to (width, height)."""
    return resize_image(Scenes(split)[index].image, size)


def write_subject(
    model: str,
    network: SegmentationNetwork,
    metadata: ModelMetadata,
    random_weights: bool,
    size: tuple[int, int],
    folder: Path,
    users_networks: Sequence[str] = (),
) -> Subject:
    """Write network, image, reference and the names of users' files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    image = scene("val", 0, size)
    np.save(folder / IMAGE, image)
    save_checkpoint(folder / CHECKPOINT, network, metadata)
    (folder / METADATA).write_text(metadata.to_json())
    (folder / USERS_NETWORKS).write_text(json.dumps(list(users_networks)))
    with torch.inference_mode():
        reference = Wrapped(network, metadata.normalisation, arg_max=True).eval()(torch.from_numpy(image))
    np.save(folder / REFERENCE, reference.numpy())
    return Subject(os.fspath(model), size, folder, multiply_adds(network, *size), random_weights)
