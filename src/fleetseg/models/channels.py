"""Networks with fewer channels than they are built with: two options, which compression writes into files.

``channels`` names every layer that is narrower: its place in the network → [inputs, outputs] of a convolution,
[channels] of a BatchNorm or PReLU; null for a count that stays, so that the head's classes remain the network's own.
``reads`` names every BatchNorm that reads only some of the channels before it, because others read the rest: its place
→ their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.errors import UsageError
from fleetseg.models.esp import gradient_safe_padding, padded
from fleetseg.variants import CHANNELS, READS

#: What can be narrower.
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.PReLU


class ReadingBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm of some channels of its input: those numbered in `reads`, which ascend."""

    reads: tuple[int, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        """(N, all, H, W) → (N, as many as are read, H, W)."""
        # Slices, which every runtime has; few of them have a selection by numbers.
        parts = [input[:, first:last] for first, last in runs(self.reads)]
        return super().forward(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])


class DilatedConv2d(nn.Conv2d):
    """A dilated convolution of any number of channels, where training needs it with empty ones beside them."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H, W)."""
        extra = gradient_safe_padding(input, self.in_channels)
        if extra == 0:
            return super().forward(input)
        wider = F.pad(input, (0, 0, 0, 0, 0, extra))
        weight = padded(self.weight, extra, dim=1)
        return F.conv2d(wider, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges (first, after the last)."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def narrow(network: nn.Module, options: Mapping[str, Any]) -> None:
    """Make layers of `network` narrower, in place, as the options of this module say.

    They keep the first of their weights. `UsageError` for a place that is no such layer and for a count or number that
    it cannot have.
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, Layer)}
    channels, reads = _table(options, CHANNELS), _table(options, READS)
    for name, counts in channels.items():
        if name not in layers:
            raise UsageError(f"{CHANNELS} names '{name}', which is no convolution, BatchNorm or PReLU of the network")
        layer = layers[name]
        built = widths(layer)
        if not isinstance(counts, list) or len(counts) != len(built):
            raise UsageError(f"{CHANNELS}.{name} is {counts!r}; {len(built)} counts are needed")
        wanted = [old if count is None else count for count, old in zip(counts, built, strict=True)]
        for count, old in zip(wanted, built, strict=True):
            if type(count) is not int or not 1 <= count <= old:
                raise UsageError(f"{CHANNELS}.{name} asks for {count!r} channels; 1 to {old} are there")
        set_widths(layer, wanted)
    for name, numbers in reads.items():
        norm = layers.get(name)
        if not isinstance(norm, nn.BatchNorm2d):
            raise UsageError(f"{READS} names '{name}', which is no BatchNorm of the network")
        ascending = isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)
        if not ascending or sorted(set(numbers)) != numbers or len(numbers) != norm.num_features:
            raise UsageError(f"{READS}.{name}: {norm.num_features} ascending channel numbers are needed")
        let_read(norm, numbers)


def let_read(layer: nn.BatchNorm2d, numbers: Sequence[int]) -> None:
    """The layer, in place, becomes one that reads these channels of its input."""
    layer.__class__ = ReadingBatchNorm2d
    layer.reads = tuple(numbers)  # type: ignore[assignment]


def _table(options: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = options.get(key, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{key} is {table!r}; a table from layers to their channels is needed")
    return table


def widths(layer: Layer) -> list[int]:
    """[inputs, outputs] of a convolution, [channels] of a BatchNorm or PReLU."""
    if isinstance(layer, nn.BatchNorm2d):
        return [layer.num_features]
    if isinstance(layer, nn.PReLU):
        return [layer.num_parameters]
    return [layer.in_channels, layer.out_channels]


def set_widths(layer: Layer, counts: Sequence[int]) -> None:
    """Give a layer as many channels, in place; it keeps the first of its weights."""
    if isinstance(layer, nn.BatchNorm2d):
        layer.num_features = counts[0]
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = counts[0]
    else:
        if layer.groups > 1:
            if not layer.groups == layer.in_channels == layer.out_channels or counts[0] != counts[1]:
                raise UsageError(f"{CHANNELS}: of convolutions in groups only depthwise ones can be narrower")
            layer.groups = counts[0]
        layer.in_channels, layer.out_channels = counts[0], counts[1]
        if type(layer) is nn.Conv2d and layer.groups == 1 and max(layer.dilation) > 1:
            layer.__class__ = DilatedConv2d
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if tensor.ndim > 0:
            setattr(layer, name, _first(layer, name, tensor, counts))


def _first(layer: Layer, name: str, tensor: Tensor, counts: Sequence[int]) -> Tensor:
    """The part of one tensor that the counts leave."""
    part = tensor.detach()
    for axis, count in enumerate(axis_counts(layer, name, counts)):
        part = part.narrow(axis, 0, count)
    part = part.clone()
    return nn.Parameter(part, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else part


def axis_counts(layer: Layer, name: str, counts: Sequence[int]) -> Sequence[int]:
    """How long the first axes of a layer's tensor are where the layer has `counts` channels."""
    if isinstance(layer, nn.BatchNorm2d | nn.PReLU) or name == "bias":
        return [counts[-1]]
    if layer.groups > 1:
        return [counts[1], 1]
    return counts if isinstance(layer, nn.ConvTranspose2d) else counts[::-1]
