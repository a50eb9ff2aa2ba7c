"""One image through a network with both its ends, without the axis of batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fleetseg.exporters.ends import ArgMax, WithEnds
from fleetseg.metadata import Normalisation


class Wrapped(nn.Module):
    """Normalisation, network and, on request, arg-max; between them the network's own element type."""

    def __init__(
        self, network: nn.Module, normalisation: Normalisation, *, stored: torch.dtype = torch.float32, arg_max: bool
    ) -> None:
        super().__init__()
        last = ArgMax() if arg_max else None
        self.ends = WithEnds(network, normalisation, arg_max=last, stored=stored)

    def forward(self, image: Tensor) -> Tensor:
        """(H, W, C) uint8 → (rows, columns) uint8 classes, or (classes, rows, columns) logits."""
        result: Tensor = self.ends(image.unsqueeze(0))[0]
        return result
