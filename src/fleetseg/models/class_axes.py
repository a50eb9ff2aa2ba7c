"""Which tensors of a network depend on how many classes it has."""

from __future__ import annotations

import torch

from fleetseg.models._registry import build_network
from fleetseg.models.base import SegmentationNetwork


def class_axes(network: SegmentationNetwork) -> dict[str, tuple[int, ...] | None]:
    """Tensor of a network → the axes along which it has one entry a class; None where that is not so plain.

    Found by comparing with the same network for one class more.
    """
    with torch.device("meta"):
        more = build_network(
            network.registered_name, network.num_classes + 1, network.in_channels, **network.options
        ).state_dict()
    result: dict[str, tuple[int, ...] | None] = {}
    for key, value in network.state_dict().items():
        if key not in more or more[key].ndim != value.ndim:
            result[key] = None
        elif more[key].shape != value.shape:
            axes = [axis for axis in range(value.ndim) if more[key].shape[axis] != value.shape[axis]]
            plain = all(
                value.shape[axis] == network.num_classes and more[key].shape[axis] == network.num_classes + 1
                for axis in axes
            )
            result[key] = tuple(axes) if plain else None
    return result
