"""What a network costs: parameters, multiply-adds, receptive field; all computed from the built network."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models._registry import build_network, network_entry
from fleetseg.models.base import SegmentationNetwork, count_parameters
from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2


@dataclass(frozen=True)
class NetworkCost:
    """A row of `fleetseg models`."""

    name: str
    parameters: int
    gmacs_640x360: float
    #: Side of the square of image pixels that can influence one output pixel.
    receptive_field: int
    paper: str

    @property
    def fp32_mb(self) -> float:
        """4 bytes a parameter, in 10⁶ bytes (ESPNet's "network size")."""
        return 4 * self.parameters / 1e6

    @property
    def fp16_mb(self) -> float:
        """2 bytes a parameter, in 10⁶ bytes."""
        return 2 * self.parameters / 1e6

    def as_json(self) -> dict[str, Any]:
        """The object that ``fleetseg models --json`` prints."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "fp32_mb": self.fp32_mb,
            "fp16_mb": self.fp16_mb,
            "gmacs_640x360": round(self.gmacs_640x360, 4),
            "receptive_field": self.receptive_field,
            "paper": self.paper,
        }


def network_cost(name: str, num_classes: int, **options: Any) -> NetworkCost:
    """The costs of one registered network."""
    network = build_network(name, num_classes, **options)
    return NetworkCost(
        name=name,
        parameters=count_parameters(network),
        gmacs_640x360=multiply_adds(network, 640, 360) / 1e9,
        receptive_field=receptive_field(network),
        paper=network_entry(name).paper,
    )


def multiply_adds(network: SegmentationNetwork, width: int, height: int) -> int:
    """Multiply-adds of all convolutions for an image; of transposed ones without the zeros between inputs."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * positions.shape[-2] * positions.shape[-1]

    network = copy.deepcopy(network).to("meta").eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, network.in_channels, height, width, device="meta"))
    return total


class _MeanPool(nn.Module):
    """Stands for a max-pool: all of the window counts."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.avg_pool2d(x, 2), torch.ones(())


class _Spread(nn.Module):
    """Stands for an un-pooling: any of the four places may be the one."""

    def forward(self, x: Tensor, _place: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")


def receptive_field(network: SegmentationNetwork) -> int:
    """Widest span of image columns with influence on one output pixel.

    Found by the gradient of single output pixels in a linear copy of the network: positive weights, no norms
    or activations, averages for maxima. Networks treat rows and columns alike, so a strip 8 pixels high
    suffices.
    """
    linear = _linear_copy(network)
    width = 2048
    while (span := _widest_span(linear, width)) is None:
        width *= 2
    return span


def _widest_span(linear: SegmentationNetwork, width: int) -> int | None:
    """The widest influence in a strip of that width; None if it may go beyond the strip."""
    strip = torch.ones(1, linear.in_channels, 8, width, dtype=torch.float64, requires_grad=True)
    output = linear(strip).sum(dim=(0, 1, 2))
    middle = output.shape[0] // 2
    widest = 0
    # Within one cell of the coarsest level, output pixels reach differently far.
    for position in range(middle, middle + 8 // linear.output_stride):
        (gradient,) = torch.autograd.grad(output[position], strip, retain_graph=True)
        columns = torch.nonzero(gradient.sum(dim=(0, 1, 2)))
        first, last = int(columns.min()), int(columns.max())
        if first == 0 or last == width - 1:
            return None
        widest = max(widest, last - first + 1)
    return widest


def _linear_copy(network: SegmentationNetwork) -> SegmentationNetwork:
    linear = copy.deepcopy(network).double().eval().requires_grad_(False)
    for parent in list(linear.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MaxPool2x2):
                setattr(parent, name, _MeanPool())
            elif isinstance(child, MaxUnpool2x2):
                setattr(parent, name, _Spread())
            elif isinstance(child, nn.BatchNorm2d | nn.PReLU | nn.ReLU | nn.Dropout2d):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for parameter in linear.parameters():
            # Not smaller: the product over a deep network's layers must not underflow. Infinity would do no
            # harm.
            parameter.fill_(1.0)
    return linear
