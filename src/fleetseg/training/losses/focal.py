"""Focal loss: cross-entropy that pixels which are right already hardly enter."""

from __future__ import annotations

import torch
from torch import Tensor

from fleetseg.training.losses.weighted_mean import pixel_cross_entropy, pixel_weights, weighted_mean


def focal(logits: Tensor, target: Tensor, class_weights: Tensor, gamma: float) -> Tensor:
    """Weighted mean of (1 − p)^γ · −ln p over labelled pixels (Lin et al., arXiv 1708.02002, equation 5)."""
    losses = pixel_cross_entropy(logits, target)
    # 1 − p without cancellation. At 0 a power below 1 has no derivative, so it stays a little above.
    wrong = -torch.expm1(-losses)
    return weighted_mean(wrong.clamp_min(1e-7) ** gamma * losses, pixel_weights(target, class_weights))
