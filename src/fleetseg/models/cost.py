"""What a network costs: parameters, multiply-adds, receptive field; all computed from the built network."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models._registry import build_network, network_entry
from fleetseg.models.adaptive_pooling import AdaptiveAveragePool
from fleetseg.models.base import SegmentationNetwork, count_parameters
from fleetseg.models.blocks import Maximum, MaxPool2x2, MaxUnpool2x2
from fleetseg.variants import is_users


@dataclass(frozen=True)
class NetworkCost:
    """A row of `fleetseg models`."""

    name: str
    parameters: int
    gmacs_640x360: float
    #: Side of the square of image pixels that can influence one output pixel; None: the whole image.
    receptive_field: int | None
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
    # What a network reaches does not depend on its width, and a narrow one is quick to ask.
    has_width = not is_users(name) and "width" in network_entry(name).option_names()
    narrow = {"width": 1 / 64} if has_width else {}
    with torch.device("meta"):
        network = build_network(name, num_classes, **options)
        thin = build_network(name, num_classes, **{**options, **narrow})
    return NetworkCost(
        name=name,
        parameters=count_parameters(network),
        gmacs_640x360=multiply_adds(network, 640, 360) / 1e9,
        receptive_field=receptive_field(thin),
        paper=network_entry(name).paper,
    )


def parameter_count(name: str, num_classes: int, **options: Any) -> int:
    """Learned numbers of a registered network or variant, which is not filled for it."""
    with torch.device("meta"):
        return count_parameters(build_network(name, num_classes, **options))


def multiply_adds(network: SegmentationNetwork, width: int, height: int) -> int:
    """Multiply-adds of all convolutions for an image; of transposed ones without the zeros between inputs."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * positions.shape[-2] * positions.shape[-1]

    network = _copy_sharing_weights(network).to("meta").eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, network.in_channels, height, width, device="meta"))
    return total


class _MeanPool(nn.Module):
    """Stands for a max-pool that tells places: all of the window counts."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.avg_pool2d(x, 2), torch.ones(())


class _Spread(nn.Module):
    """Stands for an un-pooling: any of the four places may be the one."""

    def forward(self, x: Tensor, _place: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")


class _Reach(nn.Module):
    """Stands for a convolution: every output channel is the mean of its group's inputs over the whole kernel.

    So a layer of thousands of channels costs what one channel costs, and means keep the values from growing.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        # Not as a module of this one: its weights are no part of the copy.
        self.layer = (conv,)
        self.groups, self.repeats = conv.groups, conv.out_channels // conv.groups
        self.kernel = torch.ones(conv.groups, 1, *conv.kernel_size, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        (conv,) = self.layer
        means = x.reshape(x.shape[0], self.groups, -1, *x.shape[2:]).mean(2)
        if isinstance(conv, nn.ConvTranspose2d):
            assert not isinstance(conv.padding, str)
            y = F.conv_transpose2d(
                means, self.kernel, None, conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation
            )
        else:
            y = F.conv2d(means, self.kernel, None, conv.stride, conv.padding, conv.dilation, conv.groups)
        # One group's expansion is a view, without memory of its own.
        return y.unsqueeze(2).expand(-1, -1, self.repeats, -1, -1).flatten(1, 2)


class _MeanOfMagnitudes(nn.Module):
    """Stands for a max-pool. Values are positive here, except where a minimum is written as the maximum of −x."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.mean = nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.mean(x.abs())
        return result


class _Sum(nn.Module):
    """Stands for a maximum of two maps."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


#: Layers that do not look at neighbours, or only for a number that every pixel has.
_POINTWISE = (nn.BatchNorm2d, nn.PReLU, nn.ReLU, nn.ELU, nn.Dropout, nn.Dropout2d, nn.LocalResponseNorm, nn.Softmax)
#: Pixels after which the answer repeats, for networks that halve their input up to five times.
_PERIOD = 32
#: Wider fields than this are the whole image's: a network with a pyramid of averages has no bound.
_WIDEST = 8192


def receptive_field(network: SegmentationNetwork) -> int | None:
    """Widest span of image columns with influence on one output pixel; None: the whole image, whatever its size.

    Found by the gradient of single output pixels in a linear copy of the network: equal weights, no norms or
    activations, averages for maxima. Networks treat rows and columns alike, so a strip as high as the network's
    smallest image suffices.
    """
    if any(isinstance(module, AdaptiveAveragePool) for module in network.modules()):
        return None
    linear = _linear_copy(network)
    width = 512
    while (span := _widest_span(linear, width)) is None:
        width *= 2
        if width > _WIDEST and span is None:
            return None
    return span


def _widest_span(linear: SegmentationNetwork, width: int) -> int | None:
    """The widest influence in a strip of that width; None if it may go beyond the strip."""
    period = _PERIOD if linear.size_multiple != 8 else 8
    rows = linear.size_multiple
    strip = torch.ones(1, linear.in_channels, rows, width, dtype=torch.float64, requires_grad=True)
    output = linear(strip).sum(dim=(0, 1, 2))
    middle = output.shape[0] // 2
    widest = 0
    # Within one cell of the coarsest level, output pixels reach differently far.
    for position in range(middle, middle + period // linear.output_stride):
        (gradient,) = torch.autograd.grad(output[position], strip, retain_graph=True)
        columns = torch.nonzero(gradient.sum(dim=(0, 1, 2)))
        first, last = int(columns.min()), int(columns.max())
        if first == 0 or last == width - 1:
            return None
        widest = max(widest, last - first + 1)
    return widest


def _linear_copy(network: SegmentationNetwork) -> SegmentationNetwork:
    linear = _copy_sharing_weights(network).eval()
    for parent in list(linear.modules()):
        for name, child in list(parent.named_children()):
            stand_in = _stand_in(child)
            if stand_in is not None:
                setattr(parent, name, stand_in)
    # What is left are weights of layers that a user's own network may have.
    for module in linear.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.ones(weight.shape, dtype=torch.float64), requires_grad=False))
    return linear


def _stand_in(layer: nn.Module) -> nn.Module | None:
    """What takes the place of a layer in the linear copy; None if it stays."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return _Reach(layer)
    if isinstance(layer, MaxPool2x2):
        return _MeanPool()
    if isinstance(layer, MaxUnpool2x2):
        return _Spread()
    if isinstance(layer, nn.MaxPool2d):
        return _MeanOfMagnitudes(layer)
    if isinstance(layer, Maximum):
        return _Sum()
    return nn.Identity() if isinstance(layer, _POINTWISE) else None


def _copy_sharing_weights(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy whose layers can be replaced, without a second copy of weights that may be gigabytes."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})
