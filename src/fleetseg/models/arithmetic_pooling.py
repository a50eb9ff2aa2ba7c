"""2×2 max-pooling and un-pooling by arithmetic alone, for runtimes without comparisons, masks or MaxUnpool (ncnn).

The same values as `blocks.MaxPool2x2` and `blocks.MaxUnpool2x2` give, ties included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What a difference is multiplied by, twice: together 1e38, so that every difference of two float32 numbers that is
#: not denormal becomes at least 1. Two steps, because some runtimes clip what overflows and some do not.
_FACTOR = 1e19

#: Row k: mark k minus all marks before it, positive only where k is the first mark.
_FIRST = ((1.0, 0, 0, 0), (-1.0, 1, 0, 0), (-1.0, -1, 1, 0), (-1.0, -1, -1, 1))


class ArithmeticMaxPool2x2(nn.Module):
    """2×2 max-pool with stride 2; the place of each maximum is a map of ones and zeros at full size."""

    first: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.tensor(_FIRST).view(4, 4, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → pooled (N, C, H/2, W/2) and its place (N, C, H, W), one 1 in each window."""
        pooled = F.max_pool2d(x, 2)
        below = F.interpolate(pooled, scale_factor=2, mode="nearest") - x
        marks = 1 - torch.clamp(torch.clamp(below * _FACTOR, 0, _FACTOR) * _FACTOR, 0, 1)
        channels = x.shape[1]
        # (N, 4C, H/2, W/2): the four marks of a window side by side, in row-major order.
        windows = F.pixel_unshuffle(marks, 2)
        firsts = F.relu(F.conv2d(windows, self.first.repeat(channels, 1, 1, 1), groups=channels))
        return pooled, F.pixel_shuffle(firsts, 2)


class ArithmeticMaxUnpool2x2(nn.Module):
    """The inverse of `ArithmeticMaxPool2x2`."""

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """(N, C, H, W) and a place (N, C, 2H, 2W) → (N, C, 2H, 2W)."""
        return F.interpolate(x, scale_factor=2, mode="nearest") * place
