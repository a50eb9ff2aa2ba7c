"""Soft Dice loss: one minus the overlap of probability and class."""

from __future__ import annotations

from torch import Tensor

from fleetseg.training.losses.per_class import class_planes, mean_over_present


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes of the batch of 1 − 2·Σ p·t / (Σ p + Σ t), over labelled pixels.

    t is 1 where the pixel has the class (Sudre et al., arXiv 1707.03237, without class weights).
    """
    probabilities, members, labelled = class_planes(logits, target)
    probabilities = probabilities * labelled
    overlap = 2 * (probabilities * members).sum(1)
    extent = probabilities.sum(1) + members.sum(1)
    return mean_over_present(1 - overlap / extent.clamp_min(1e-12), members)
