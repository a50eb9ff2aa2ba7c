"""The exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork


class AveragedNetwork(nn.Module):
    """A copy of a network that follows its weights and running statistics.

    The first update copies them; the n-th after it keeps min(decay, (1 + n) / (10 + n)) of the average, so that
    early weights are forgotten soon. Counters (BatchNorm's batches) are copied each time.

    PyTorch's AveragedModel does the same but walks through all modules four times a step, a sixth of ENet's
    step on small crops; the state has that class's keys.
    """

    n_averaged: Tensor

    def __init__(self, network: SegmentationNetwork, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))
        self._weights: tuple[list[Tensor], list[Tensor]] | None = None
        self._counters: tuple[list[Tensor], list[Tensor]] = ([], [])

    @torch.no_grad()
    def update(self, network: SegmentationNetwork) -> None:
        """Move towards `network`, the one that was copied, wherever its tensors were when this was first called."""
        if self._weights is None:
            self._weights, self._counters = self._pair(network)
        steps = int(self.n_averaged)
        keep = min(self.decay, (1 + steps) / (10 + steps)) if steps else 0.0
        torch._foreach_lerp_(*self._weights, 1 - keep)
        if self._counters[0]:
            torch._foreach_copy_(*self._counters)
        self.n_averaged += 1

    def _pair(
        self, network: SegmentationNetwork
    ) -> tuple[tuple[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]:
        weights: tuple[list[Tensor], list[Tensor]] = ([], [])
        counters: tuple[list[Tensor], list[Tensor]] = ([], [])
        ours = chain(self.module.parameters(), self.module.buffers())
        theirs = chain(network.parameters(), network.buffers())
        for old, new in zip(ours, theirs, strict=True):
            kind = weights if old.is_floating_point() else counters
            kind[0].append(old.detach())
            kind[1].append(new.detach())
        return weights, counters
