"""Online hard example mining: cross-entropy of the pixels that the network finds hard."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.losses.weighted_mean import pixel_cross_entropy, pixel_weights, weighted_mean


def ohem(logits: Tensor, target: Tensor, class_weights: Tensor, threshold: float, keep: float) -> Tensor:
    """Weighted mean of −ln p over the hard pixels of the batch (Shrivastava et al., arXiv 1604.03540).

    Hard is a pixel whose class has a probability below `threshold`; if these are fewer than the share `keep` of the
    labelled pixels (rounded up), so many of the hardest count.
    """
    losses = pixel_cross_entropy(logits, target)
    with torch.no_grad():
        labelled = target != IGNORE_INDEX
        ranked = torch.where(labelled, losses, -1.0).flatten().sort(descending=True).values
        # Rounding must not turn an exact 3.0 into a 4.
        least = (labelled.sum() * keep - 1e-4).ceil().clamp_min(1).long()
        border = torch.minimum(ranked[least - 1], ranked.new_tensor(-math.log(threshold)))
        hard = labelled & (losses >= border)
    return weighted_mean(losses, pixel_weights(target, class_weights) * hard)
