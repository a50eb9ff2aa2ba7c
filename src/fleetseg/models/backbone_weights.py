"""ImageNet weights for the backbones, from local files in torchvision's or timm's layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.resnet import ResNet
from fleetseg.models.vgg import GROUPS, VGG16
from fleetseg.models.weight_files import read_weights

#: Of a file that fits: the classifier, which segmentation has no use for, and BatchNorm's counters.
_UNUSED = re.compile(r"^(fc|classifier|head|pre_logits)\.|num_batches_tracked$")
#: What a BatchNorm has, counters left out.
NORM = ("weight", "bias", "running_mean", "running_var")
#: How many keys of a kind a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class Layout:
    """How a kind of file names a backbone's weights."""

    name: str
    #: Key in the file → key in the backbone.
    keys: Mapping[str, str]


def backbones(network: nn.Module) -> list[VGG16 | ResNet]:
    """The parts of a network that ImageNet weights exist for; Mehta's has two."""
    return [module for module in network.modules() if isinstance(module, VGG16 | ResNet)]


def load_backbone_weights(network: SegmentationNetwork, path: str | Path) -> None:
    """Fill the backbone (or all of several) with ImageNet weights; everything else stays as it is.

    Files: torchvision's or timm's VGG16 (with BatchNorm for SegNet; without it the convolutions alone are taken),
    ResNet-18, -50 and -101; for PSPNet timm's ``resnet101s`` or a ResNet-101 with the top-level stem ``conv1`` to
    ``conv3``. `UsageError` for a network without such a backbone, `CheckpointError` naming the keys and shapes
    that differ.
    """
    for backbone, layout, tensors in _fitting(network, path):
        own = backbone.state_dict()
        with torch.no_grad():
            for key, inner in layout.keys.items():
                own[inner].copy_(tensors[key].reshape(own[inner].shape))


def check_backbone_weights(network: SegmentationNetwork, path: str | Path) -> None:
    """The errors of `load_backbone_weights`, without changing anything; the network may be on the meta device."""
    _fitting(network, path)


def _fitting(
    network: SegmentationNetwork, path: str | Path
) -> list[tuple[VGG16 | ResNet, Layout, Mapping[str, Tensor]]]:
    """Each backbone with the layout in which the file fits it."""
    name = network.registered_name or type(network).__name__
    found = backbones(network)
    if not found:
        raise UsageError(f"network '{name}' has no VGG16 or ResNet backbone that ImageNet weights would fit")
    if any(isinstance(one, ResNet) and one.original and one.depth > 18 for one in found):
        raise UsageError(
            f"network '{name}' with original=True has strides where torchvision's and timm's weights have none; "
            "leave original at False to load them"
        )
    tensors = read_weights(path, "ImageNet weights in torchvision's or timm's layout")
    return [(backbone, _layout_of(backbone, tensors, str(path)), tensors) for backbone in found]


def _layout_of(backbone: VGG16 | ResNet, tensors: Mapping[str, Tensor], source: str) -> Layout:
    """The layout that the file is in; `CheckpointError` with every kind of difference if it does not fit."""
    layout = max(layouts(backbone), key=lambda one: sum(key in tensors for key in one.keys))
    own = backbone.state_dict()
    problems = differences({key: file_shape(key, own[inner]) for key, inner in layout.keys.items()}, tensors)
    if problems:
        kind = "VGG16" if isinstance(backbone, VGG16) else f"ResNet-{backbone.depth}"
        stem = " with a deep stem" if isinstance(backbone, ResNet) and backbone.deep_stem else ""
        raise CheckpointError(f"{source}: not weights of this {kind}{stem} ({layout.name}): {'; '.join(problems)}")
    return layout


def differences(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> list[str]:
    """What is missing, of another shape, or unknown; empty if the file fits."""
    missing = [key for key in shapes if key not in tensors]
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, not {shape}"
        for key, shape in shapes.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    unknown = [key for key in tensors if key not in shapes and not _UNUSED.search(key)]
    kinds = (("missing", missing), ("of another shape", wrong), ("unknown", unknown))
    return [f"{what}: {_some(items)}" for what, items in kinds if items]


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def file_shape(key: str, own: Tensor) -> tuple[int, ...]:
    """torchvision's VGG has its fully connected layers as matrices, channels before rows and columns."""
    flat = key.startswith("classifier.") and own.ndim == 4
    return (own.shape[0], own[0].numel()) if flat else tuple(own.shape)


def layouts(backbone: VGG16 | ResNet) -> list[Layout]:
    """The kinds of files that a backbone can be filled from."""
    return vgg_layouts(backbone) if isinstance(backbone, VGG16) else resnet_layouts(backbone)


def vgg_layouts(backbone: VGG16) -> list[Layout]:
    """torchvision's and timm's, which differ in the fully connected layers; with and without BatchNorm."""
    convolutions = [name for name, _ in backbone.layers(nn.Conv2d)]
    norms = [name for name, _ in backbone.layers(nn.BatchNorm2d)]
    plain = renamed(numbered(feature_positions(norm=False), convolutions))
    if norms:
        positions = feature_positions(norm=True)
        normed = renamed(numbered(positions, convolutions))
        normed |= renamed(numbered([position + 1 for position in positions], norms), NORM)
        return [Layout("vgg16", plain), Layout("vgg16_bn", normed)]
    return [
        Layout("torchvision's vgg16", plain | renamed({"classifier.0": "fc6", "classifier.3": "fc7"})),
        Layout("timm's vgg16", plain | renamed({"pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7"})),
    ]


def renamed(layers: Mapping[str, str], parts: Sequence[str] = ("weight", "bias")) -> dict[str, str]:
    """Keys of layers in a file → keys of ours."""
    return {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in layers.items() for part in parts}


def numbered(positions: Sequence[int], names: Sequence[str]) -> dict[str, str]:
    """torchvision's ``features`` → our layers."""
    return {f"features.{position}": name for position, name in zip(positions, names, strict=True)}


def feature_positions(norm: bool) -> list[int]:
    """Where in torchvision's ``features`` the thirteen convolutions are."""
    positions, position = [], 0
    for count, _ in GROUPS:
        for _ in range(count):
            positions.append(position)
            position += 3 if norm else 2
        position += 1  # the pool
    return positions


def resnet_layouts(backbone: ResNet) -> list[Layout]:
    """torchvision's, which is timm's too; for a deep stem timm's and that with ``conv1`` to ``conv3`` at the top."""
    own = [key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")]
    same = {key: key for key in own}
    if not backbone.deep_stem:
        return [Layout(f"torchvision's or timm's resnet{backbone.depth}", same)]
    stem = renamed({"conv1.0": "conv1", "conv1.3": "conv2", "conv1.6": "conv3"}, ("weight",))
    stem |= renamed({"conv1.1": "bn1", "conv1.4": "bn2", "bn1": "bn3"}, NORM)
    body = {key: key for key in own if key.startswith("layer")}
    return [
        Layout(f"resnet{backbone.depth} with conv1, conv2 and conv3 at the top", same),
        Layout(f"timm's resnet{backbone.depth}s", stem | body),
    ]
