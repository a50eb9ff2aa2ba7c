"""Transposed convolutions as convolutions and a depth-to-space, for runtimes that take few kinds of them (LiteRT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SubPixelConv2d(nn.Module):
    """What a transposed convolution computes, for one whose output is its stride times as large as its input.

    Along each axis output s·i + a reads the taps k with k ≡ a + padding (mod s), at input i + (a + padding − k) / s.
    The s² phases become output channels of one convolution over all those offsets.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        """`conv` must be one that `fits`."""
        super().__init__()
        self.stride = conv.stride[0]
        rows, columns = (_taps(conv, axis) for axis in (0, 1))
        self._padding = (-_first(columns), _last(columns), -_first(rows), _last(rows))
        shape = (
            *(conv.out_channels, self.stride, self.stride, conv.in_channels),
            *(_last(rows) - _first(rows) + 1, _last(columns) - _first(columns) + 1),
        )
        weight = torch.zeros(shape, dtype=conv.weight.dtype)
        source = conv.weight.detach().transpose(0, 1)
        for row_phase, row, row_offset in rows:
            for column_phase, column, column_offset in columns:
                place = (row_offset - _first(rows), column_offset - _first(columns))
                weight[:, row_phase, column_phase, :, place[0], place[1]] = source[:, :, row, column]
        self.register_buffer("weight", weight.flatten(0, 2))
        bias = None if conv.bias is None else conv.bias.detach().repeat_interleave(self.stride**2)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, s·H, s·W)."""
        padded = F.pad(x, self._padding) if any(self._padding) else x
        return F.pixel_shuffle(F.conv2d(padded, self.weight, self.bias), self.stride)


def fits(conv: nn.ConvTranspose2d) -> bool:
    """Whether `SubPixelConv2d` can take its place."""
    square = len({*conv.stride}) == 1 and conv.groups == 1 and {*conv.dilation} == {1}
    return square and all(_enlarges(conv, axis) for axis in (0, 1))


def _enlarges(conv: nn.ConvTranspose2d, axis: int) -> bool:
    kernel_size, stride, padding = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
    return stride > 1 and padding < kernel_size and kernel_size - 2 * padding + conv.output_padding[axis] == stride


def without_transposed(network: nn.Module) -> nn.Module:
    """Replace, in place, every transposed convolution that fits."""
    for name, child in network.named_children():
        if isinstance(child, nn.ConvTranspose2d) and fits(child):
            setattr(network, name, SubPixelConv2d(child))
        else:
            without_transposed(child)
    return network


def _taps(conv: nn.ConvTranspose2d, axis: int) -> list[tuple[int, int, int]]:
    """(phase, tap, offset of the input that it reads) along one axis."""
    stride, padding = conv.stride[axis], int(conv.padding[axis])
    return [
        (phase, tap, (phase + padding - tap) // stride)
        for phase in range(stride)
        for tap in range(conv.kernel_size[axis])
        if (phase + padding - tap) % stride == 0
    ]


def _first(taps: list[tuple[int, int, int]]) -> int:
    return min(0, *(offset for _, _, offset in taps))


def _last(taps: list[tuple[int, int, int]]) -> int:
    return max(0, *(offset for _, _, offset in taps))
