"""`fleetseg compress`: a model becomes a checkpoint with fewer channels, compared with what it came from."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fleetseg.compilation import read_network
from fleetseg.compression.removing import Removal, check_share, without_channels
from fleetseg.errors import CompressionError, UsageError
from fleetseg.exporting import scene
from fleetseg.metadata import ModelMetadata
from fleetseg.models.base import SegmentationNetwork, count_parameters
from fleetseg.models.checkpoint import check_checkpoint_path, save_checkpoint, spec_of
from fleetseg.models.cost import multiply_adds

#: Without dead channels: largest difference of logits, in parts of the largest logit. Float32 sums in another order.
_EXACT = 1e-5

#: Where the file does not say what size its network was trained on.
_USUAL_SIZE = (480, 360)


@dataclass(frozen=True)
class Weight:
    """What a network costs, whatever runs it."""

    parameters: int
    #: Multiply-adds of one image of the report's size.
    macs: int
    file_bytes: int


@dataclass(frozen=True)
class CompressionReport:
    """What became of a model."""

    model: str
    prune: float
    #: (width, height) of the image for `macs` and of the scene.
    size: tuple[int, int]
    before: Weight
    after: Weight
    removal: Removal
    #: On a built-in scene: share of pixels with the model's class, the largest difference of logits, the largest logit.
    same_classes: float
    max_difference: float
    largest_logit: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compress(model: str, out: str | Path, prune: float = 0.0, *, force: bool = False) -> CompressionReport:
    """Write `model` (a packaged name, checkpoint or run's folder) to `out` without its dead channels.

    With `prune` also without about that share of the others, the least important ones: then it is to be trained on. The
    file is a checkpoint like any other. `UsageError` for an `out` that exists (kept without `force`) and for a share
    outside 0 to 0.9, `CompressionError` for a network whose wiring cannot be followed, or that answers differently
    without its dead channels.
    """
    out = Path(out)
    check_checkpoint_path(out, force)
    check_share(prune)
    network, metadata = read_network(model)
    assert isinstance(network, SegmentationNetwork)
    try:
        smaller, removal = without_channels(network, prune)
    except UsageError as error:
        raise UsageError(f"{model}: {error}") from error
    _check_training(smaller, metadata)
    size = metadata.train_size or _USUAL_SIZE
    same, difference, largest = _compared(network, smaller, metadata, size)
    if prune == 0 and not difference <= _EXACT * max(1.0, largest):  # NaN is no agreement
        raise CompressionError(
            f"{metadata.name}: without its dead channels its logits differ by up to {difference:.3g} (the largest is "
            f"{largest:.3g}); nothing was written"
        )
    save_checkpoint(out, smaller, _metadata(metadata, smaller, out.stem, prune))
    before = Weight(count_parameters(network), multiply_adds(network, *size), _stored_bytes(network))
    after = Weight(count_parameters(smaller), multiply_adds(smaller, *size), _stored_bytes(smaller))
    return CompressionReport(model, prune, size, before, after, removal, same, difference, largest)


def _metadata(metadata: ModelMetadata, smaller: SegmentationNetwork, name: str, prune: float) -> ModelMetadata:
    """Of the new file; what was measured on the old network is kept as the old one's."""
    provenance = {"compressed_from": metadata.name, "prune": prune, "original": metadata.provenance}
    return metadata.model_copy(update={"name": name, "network": spec_of(smaller), "provenance": provenance})


def _stored_bytes(network: SegmentationNetwork) -> int:
    """Of all weights and statistics, as a checkpoint stores them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _compared(
    network: SegmentationNetwork, smaller: SegmentationNetwork, metadata: ModelMetadata, size: tuple[int, int]
) -> tuple[float, float, float]:
    batch = torch.from_numpy(metadata.normalisation.apply(scene(size, network.in_channels)))
    with torch.inference_mode():
        one = network.eval()(batch)
        try:
            other = smaller(batch)
        except RuntimeError as error:
            raise CompressionError(f"{metadata.name}: does not run with fewer channels ({_line(error)})") from error
    same = float((one.argmax(1) == other.argmax(1)).float().mean())
    return same, float((one - other).abs().max()), float(one.abs().max())


def _check_training(smaller: SegmentationNetwork, metadata: ModelMetadata) -> None:
    """`CompressionError` if parts that only training uses need the channels that are gone."""
    side = 8 * smaller.size_multiple
    trained = copy.deepcopy(smaller).train()
    try:
        with torch.no_grad():
            trained.training_logits(torch.zeros(2, smaller.in_channels, side, side))
    except RuntimeError as error:
        raise CompressionError(f"{metadata.name}: cannot be trained with fewer channels ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
