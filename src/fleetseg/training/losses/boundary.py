"""Cross-entropy in which pixels near a border between classes weigh more."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.losses.weighted_mean import pixel_cross_entropy, pixel_weights, weighted_mean


def boundary(logits: Tensor, target: Tensor, class_weights: Tensor, radius: int, factor: float) -> Tensor:
    """Weighted mean of −ln p; a pixel `near_boundary` weighs `factor` times its class."""
    weights = pixel_weights(target, class_weights)
    weights = torch.where(near_boundary(target, radius), weights * factor, weights)
    return weighted_mean(pixel_cross_entropy(logits, target), weights)


def near_boundary(target: Tensor, radius: int) -> Tensor:
    """(N, H, W) whether the square of 2·radius + 1 around a pixel holds two classes; unlabelled is none."""
    values = target.float().unsqueeze(1)
    labelled = values != IGNORE_INDEX
    size = 2 * radius + 1
    largest = F.max_pool2d(torch.where(labelled, values, -1.0), size, stride=1, padding=radius)
    smallest = -F.max_pool2d(torch.where(labelled, -values, -float(IGNORE_INDEX)), size, stride=1, padding=radius)
    return ((largest > smallest) & labelled).squeeze(1)
