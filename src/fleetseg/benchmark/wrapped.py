"""A network with both its ends: from a uint8 image to a class map, in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fleetseg.metadata import Normalisation


class Wrapped(nn.Module):
    """Normalisation, network and, on request, arg-max; between them the network's own element type."""

    mean: Tensor
    factor: Tensor

    def __init__(
        self, network: nn.Module, normalisation: Normalisation, *, stored: torch.dtype = torch.float32, arg_max: bool
    ) -> None:
        super().__init__()
        self.network = network.to(stored)
        self._stored, self._arg_max = stored, arg_max
        self._reversed = normalisation.order == "bgr"
        mean, std = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("factor", (normalisation.scale / std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(H, W, C) uint8 → (rows, columns) uint8 classes, or (classes, rows, columns) logits."""
        # The strides of the photograph are those of channels_last: nothing is moved here.
        batch = image.permute(2, 0, 1).unsqueeze(0)
        if self._reversed:
            batch = batch.flip(1)
        normalised = (batch.float() - self.mean) * self.factor
        logits: Tensor = self.network(normalised.to(self._stored))[0]
        return logits.argmax(0).to(torch.uint8) if self._arg_max else logits
