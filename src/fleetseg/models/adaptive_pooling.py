"""Adaptive average pooling that exporters can write down for images of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdaptiveAveragePool(nn.Module):
    """Average pooling to `bins` × `bins` cells, or to a fraction of the input's height and width.

    While ONNX is written, as two matrix products: its exporter knows adaptive pooling for fixed sizes only.
    """

    def __init__(self, bins: int = 0, fraction: tuple[int, int] = (0, 1)) -> None:
        """`bins` > 0, or `fraction` as numerator and denominator: ⌊fraction · side⌋ cells, at least one."""
        super().__init__()
        self.bins, self.fraction = bins, fraction

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, rows, columns)."""
        sides = x.shape[-2:]
        cells = (self._cells(sides[0]), self._cells(sides[1]))
        if not torch.onnx.is_in_onnx_export():
            return F.adaptive_avg_pool2d(x, cells)
        rows, columns = (cell_means(count, side) for count, side in zip(cells, sides, strict=True))
        return rows @ x @ columns.t()

    def _cells(self, side: int) -> int:
        if self.bins:
            return self.bins
        cells = side * self.fraction[0] // self.fraction[1]
        # While a network is traced, sizes are tensors.
        return cells.clamp(min=1) if isinstance(cells, Tensor) else max(1, cells)


def cell_means(cells: int, side: int) -> Tensor:
    """(cells, side): row i averages columns ⌊i·side/cells⌋ to ⌈(i+1)·side/cells⌉ − 1, as adaptive pooling does."""
    cell, column = torch.arange(cells)[:, None], torch.arange(side)[None, :]
    first = torch.div(cell * side, cells, rounding_mode="floor")
    end = torch.div((cell + 1) * side + cells - 1, cells, rounding_mode="floor")
    inside = ((column >= first) & (column < end)).float()
    return inside / inside.sum(1, keepdim=True)
