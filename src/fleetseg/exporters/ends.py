"""A network with both its ends, from a uint8 image to a class map, in one module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.metadata import Normalisation


class WithEnds(nn.Module):
    """Resizing and normalisation (on request), network, arg-max (on request)."""

    mean: Tensor
    factor: Tensor

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation | None,
        *,
        size: tuple[int, int] | None = None,
        arg_max: nn.Module | None = None,
        channels_last: bool = True,
        stored: torch.dtype = torch.float32,
    ) -> None:
        """`normalisation` None takes normalised images; `size` = (width, height) resizes to it.

        `channels_last` False takes (N, C, H, W) of levels 0–255 instead of (N, H, W, C) uint8, for engines that turn
        an image themselves. `stored` is the network's own element type.
        """
        super().__init__()
        # A network that halves itself inside must stay as it is.
        self.network = network if stored == torch.float32 else network.to(stored)
        self.arg_max = arg_max
        self._stored, self._size, self._channels_last = stored, size, channels_last
        self._normalises = normalisation is not None
        if normalisation is not None:
            self._reversed = normalisation.order == "bgr"
            mean, std = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
            self.register_buffer("mean", mean.view(1, -1, 1, 1))
            self.register_buffer("factor", (normalisation.scale / std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Images → (N, classes, rows, columns) logits, or the arg-max's (N, rows, columns)."""
        batch = self._normalised(image) if self._normalises else image
        logits: Tensor = self.network(batch.to(self._stored))
        if self.arg_max is None:
            return logits
        classes: Tensor = self.arg_max(logits)
        return classes

    def _normalised(self, image: Tensor) -> Tensor:
        batch = image
        if self._channels_last:
            # The strides of the photograph are those of channels_last: nothing is moved here.
            batch = image.permute(0, 3, 1, 2)
        if self._reversed:
            batch = batch.flip(1)
        levels = batch.float()
        if self._size is not None:
            levels = F.interpolate(levels, self._size[::-1], mode="bilinear", align_corners=False)
        return (levels - self.mean) * self.factor


class InHalf(nn.Module):
    """A network that computes in half precision between float32 ends."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) float32 → float32 logits."""
        logits: Tensor = self.network(image.half()).float()
        return logits


class ArgMax(nn.Module):
    """The class with the largest logit, the first of equal ones."""

    def forward(self, logits: Tensor) -> Tensor:
        """(N, C, H, W) → (N, H, W) uint8."""
        return logits.argmax(1).to(torch.uint8)


class ArithmeticArgMax(nn.Module):
    """`ArgMax` without comparisons or indices, for engines that have neither: (N, 1, H, W) float32.

    A class is marked where its logit is the maximum; of several marks the first stays, because a mark minus all marks
    before it is positive for that one alone; its number is a sum with weights 0, 1, 2 and so on.
    """

    first: Tensor
    number: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        first = torch.eye(classes) - torch.ones(classes, classes).tril(-1)
        self.register_buffer("first", first.view(classes, classes, 1, 1))
        self.register_buffer("number", torch.arange(classes, dtype=torch.float32).view(1, classes, 1, 1))

    def forward(self, logits: Tensor) -> Tensor:
        """(N, C, H, W) → (N, 1, H, W)."""
        below = logits.amax(1, keepdim=True) - logits
        # 0 stays 0; every difference between normal numbers becomes at least 1, in two steps because one factor that
        # large overflows half precision.
        marks = 1 - torch.clamp(torch.clamp(below * 1e19, 0, 1e19) * 1e19, 0, 1)
        return F.conv2d(F.relu(F.conv2d(marks, self.first)), self.number)
