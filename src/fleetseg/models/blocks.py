"""Building blocks that more than one network uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.arithmetic_pooling import ArithmeticMaxPool2x2, ArithmeticMaxUnpool2x2

#: Both papers' published code uses this instead of PyTorch's 1e-5.
BATCH_NORM_EPS = 1e-3


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with the papers' epsilon."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)


def activation(name: str, channels: int) -> nn.Module:
    """`prelu` (one slope a channel, start 0.25) or `relu`."""
    if name == "prelu":
        return nn.PReLU(channels)
    if name == "relu":
        return nn.ReLU()
    raise ValueError(f"activation '{name}' is not known; use 'prelu' or 'relu'")


class NormAct(nn.Sequential):
    """BatchNorm followed by an activation (BR in ESPNet's code)."""

    def __init__(self, channels: int, act: str = "prelu") -> None:
        super().__init__(batch_norm(channels), activation(act, channels))


class MaxPool2x2(nn.Module):
    """2×2 max-pool with stride 2 that also tells where each maximum stood.

    The place is a mask of four planes instead of PyTorch's flat index, so that un-pooling needs no scatter:
    no exporter ever meets MaxUnpool, whose support differs between runtimes. Of equal maxima the first in
    row-major order counts, as in Torch7 and cuDNN; comparing alone would mark several and be wrong after a
    ReLU.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → pooled (N, C, H/2, W/2) and its place (N, C, 4, H/2, W/2), one true of four."""
        pooled = F.max_pool2d(x, 2)
        with torch.no_grad():
            top_left = x[..., 0::2, 0::2] == pooled
            seen = top_left
            # By name: coremltools knows no `&` and `|` of masks.
            top_right = torch.logical_and(x[..., 0::2, 1::2] == pooled, torch.logical_not(seen))
            seen = torch.logical_or(seen, top_right)
            bottom_left = torch.logical_and(x[..., 1::2, 0::2] == pooled, torch.logical_not(seen))
            bottom_right = torch.logical_not(torch.logical_or(seen, bottom_left))
            place = torch.stack((top_left, top_right, bottom_left, bottom_right), dim=2)
        return pooled, place

    def by_arithmetic(self) -> nn.Module:
        """The same without comparisons, for exporters; its place fits `MaxUnpool2x2.by_arithmetic` alone."""
        return ArithmeticMaxPool2x2()


class MaxUnpool2x2(nn.Module):
    """The inverse of `MaxPool2x2`: each value returns to where the maximum stood, zeros elsewhere."""

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """(N, C, H, W) and a place (N, C, 4, H, W) → (N, C, 2H, 2W)."""
        spread = torch.where(place, x.unsqueeze(2), torch.zeros((), dtype=x.dtype, device=x.device))
        return F.pixel_shuffle(spread.flatten(1, 2), 2)

    def by_arithmetic(self) -> nn.Module:
        """The same for places that `MaxPool2x2.by_arithmetic` gives."""
        return ArithmeticMaxUnpool2x2()


class Maximum(nn.Module):
    """The larger of two maps, pixel by pixel."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Twice (N, C, H, W) → (N, C, H, W)."""
        return torch.maximum(x, y)
