"""`fleetseg adjust`: each class's logit moved by a constant, found on labelled images, so that mIoU becomes highest.

The constants go into the bias of the last layer, so the file is a network like any other and costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fleetseg.compilation import read_network
from fleetseg.data import Dataset
from fleetseg.errors import UsageError
from fleetseg.evaluation.logit_shifts import Logits, Targets, best_shifts, miou
from fleetseg.evaluation.matching import class_table
from fleetseg.labels import IGNORE_INDEX
from fleetseg.metadata import ModelMetadata
from fleetseg.models import build_network, network_entry
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.runtime import Model

#: Labelled pixels that the constants are sought on, drawn evenly from all images.
_PIXELS = 1_000_000
#: Below this the constants would be about single objects.
_LEAST_PIXELS = 1000
_LEAST_PROBABILITY = 1e-30

#: Shows progress over what it is given.
Track = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Adjustment:
    """What was added to the logits, and what it does to mIoU on the pixels it was sought on."""

    model: str
    data: str
    images: int
    pixels: int
    #: Class → what was added; the mean is 0.
    shifts: dict[str, float]
    #: Fractions 0–1, of the pixels drawn.
    miou_before: float
    miou_after: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def adjust(
    model: str, network: Model, dataset: Dataset, out: Path, size: tuple[int, int] | None = None, track: Track = iter
) -> Adjustment:
    """Write `model` (a packaged name, checkpoint or run's folder) to `out` with the logits that suit `dataset` best.

    `network` runs it, at `size` (width, height) or at each image's own. Take images that it was trained on: nothing is
    fitted but a number a class. `UsageError` for other classes than the data set's, without enough labelled pixels, or
    if the network has no place for constants.
    """
    module, metadata = read_network(model)
    assert isinstance(module, SegmentationNetwork)
    adjusted = with_class_bias(module)
    logits, targets = drawn(network, dataset, size, track)
    shifts = best_shifts(logits, targets)
    before, after = (miou(logits, targets, one) for one in (np.zeros_like(shifts), shifts))
    bias = class_bias(adjusted)
    with torch.no_grad():
        bias.add_(torch.from_numpy(shifts))
    named = {name: round(float(shift), 4) for name, shift in zip(metadata.classes, shifts, strict=True)}
    found = Adjustment(model, dataset.name, len(dataset), len(targets), named, before, after)
    save_checkpoint(out, adjusted, _metadata(metadata, adjusted, found))
    return found


def drawn(
    network: Model, dataset: Dataset, size: tuple[int, int] | None = None, track: Track = iter
) -> tuple[Logits, Targets]:
    """(pixels, classes) logits and (pixels,) positions among the network's classes, of pixels drawn from all images."""
    to_classes = _inverted(class_table(network.classes, dataset.labels))
    share = -(-_PIXELS // len(dataset))
    random = np.random.default_rng(0)
    logits, targets = [], []
    for index in track(range(len(dataset))):
        sample = dataset[index]
        planes = network.probabilities(sample.image, size)
        target = to_classes[sample.mask].reshape(-1)
        pixels = np.flatnonzero(target != IGNORE_INDEX)
        if len(pixels) > share:
            pixels = random.choice(pixels, share, replace=False)
        # Logits but for a constant a pixel, which arg-max does not see.
        logits.append(np.log(np.maximum(planes.reshape(len(planes), -1)[:, pixels].T, _LEAST_PROBABILITY)))
        targets.append(target[pixels])
    together = np.concatenate(targets)
    if len(together) < _LEAST_PIXELS:
        raise UsageError(f"{dataset.name} has {len(together)} labelled pixels; at least {_LEAST_PIXELS} are needed")
    return np.ascontiguousarray(np.concatenate(logits), np.float32), together


def _inverted(table: Targets) -> Targets:
    """The network's class → the data set's, turned round; what has none is ignored."""
    result = np.full(256, IGNORE_INDEX, np.uint8)
    for position in np.flatnonzero(table != IGNORE_INDEX):
        result[table[position]] = position
    return result


def with_class_bias(network: SegmentationNetwork) -> SegmentationNetwork:
    """`network`, or the same with the option `class_bias` where it has no constants yet; `UsageError` if it cannot."""
    if class_bias_or_none(network) is not None:
        return network
    entry = network_entry(network.registered_name)
    if "class_bias" not in entry.option_names():
        raise UsageError(f"the last layer of '{entry.name}' has no bias, where the constants of the classes would go")
    options = {**network.options, "class_bias": True}
    result = build_network(entry.name, network.num_classes, network.in_channels, **options)
    result.load_state_dict({**result.state_dict(), **network.state_dict()})
    return result.eval()


def class_bias(network: SegmentationNetwork) -> Tensor:
    """As `class_bias_or_none`, of a network that has one."""
    bias = class_bias_or_none(network)
    assert bias is not None
    return bias


def class_bias_or_none(network: SegmentationNetwork) -> Tensor | None:
    """The bias that is added to the logits as it is, a number a class; None if there is none. Found by trying."""
    network.eval()
    side = 2 * network.size_multiple
    image = torch.zeros(1, network.in_channels, side, side)
    known = torch.arange(1.0, network.num_classes + 1)
    with torch.no_grad():
        plain = network(image)
        for bias in _candidates(network):
            kept = bias.clone()
            bias.add_(known)
            moved: Tensor = network(image) - plain
            bias.copy_(kept)
            if torch.allclose(moved, known[None, :, None, None].expand_as(moved), atol=1e-2):
                return bias
    return None


def _candidates(network: SegmentationNetwork) -> list[Tensor]:
    """Biases of convolutions with an output a class, the last one first."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    found = [layer.bias for layer in layers if layer.bias is not None]
    return [bias for bias in reversed(found) if bias.numel() == network.num_classes]


def _metadata(metadata: ModelMetadata, adjusted: SegmentationNetwork, found: Adjustment) -> ModelMetadata:
    """Of the new file; how the network was trained stays, its old score does not."""
    provenance = {key: value for key, value in metadata.provenance.items() if key != "val_miou"}
    provenance["adjusted_on"] = {"data": found.data, "images": found.images, "shifts": found.shifts}
    return metadata.model_copy(update={"network": spec_of(adjusted), "provenance": provenance})
