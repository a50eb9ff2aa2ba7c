"""Stochastic weight averaging: the mean of the weights at the ends of the last epochs (arXiv 1803.05407)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork


class WeightAverage(nn.Module):
    """A copy of a network whose weights are the plain mean of what was added to it."""

    count: Tensor

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("count", torch.tensor(0))

    @torch.no_grad()
    def add(self, network: SegmentationNetwork) -> None:
        """One more summand; buffers are copied, so BatchNorm's statistics must be estimated afterwards."""
        self.count += 1
        for mean, new in zip(self.module.parameters(), network.parameters(), strict=True):
            mean.lerp_(new, 1 / int(self.count))
        for copied, current in zip(self.module.buffers(), network.buffers(), strict=True):
            copied.copy_(current)


@torch.no_grad()
def estimate_statistics(
    network: nn.Module,
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], object],
    frozen: frozenset[str] = frozenset(),
) -> None:
    """Set BatchNorm's running statistics to their mean over `batches`, each run by `forward`; dropout is off.

    The norms whose names are in `frozen` keep theirs.
    """
    norms = [
        module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d) and name not in frozen
    ]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean instead of a moving one
        norm.train()
    for batch in batches:
        forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
