"""The mean over labelled pixels in which each pixel weighs as much as its class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX


def pixel_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """(N, H, W) −ln p of each pixel's class; 0 where unlabelled."""
    return F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")


def pixel_weights(target: Tensor, class_weights: Tensor) -> Tensor:
    """(N, H, W) weight of each pixel's class; 0 where unlabelled."""
    labelled = target != IGNORE_INDEX
    return torch.where(labelled, class_weights[torch.where(labelled, target, 0)], 0.0)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Σ weight·value / Σ weight; 0 where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp_min(torch.finfo(torch.float32).tiny)
