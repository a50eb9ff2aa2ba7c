"""Cross-entropy with class weights and label smoothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean of −ln p over labelled pixels, each weighing as much as its class.

    With smoothing ε the target is 1 − ε for the pixel's class plus ε/C for each class (Szegedy et al., arXiv
    1512.00567); a class's share then weighs as that class, and the sum is divided by the pixels' own weights.
    """
    if torch.compiler.is_compiling():
        # The training step leaves out batches without a label, and the graph stays that of the shipped recipes' first
        # runs: one more reduction could change the order of its sums, and so the last bits of their weights.
        return _mean(logits, target, class_weights, label_smoothing)
    labelled = (target != IGNORE_INDEX).any()
    # Any target will do where the result is not used; the gradient of a mean of nothing is no number.
    loss = _mean(logits, torch.where(labelled, target, 0), class_weights, label_smoothing)
    return torch.where(labelled, loss, 0.0)


def _mean(logits: Tensor, target: Tensor, class_weights: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE_INDEX, label_smoothing=label_smoothing)
