"""What the losses over whole classes share: probabilities, memberships, the mean over classes that occur."""

from __future__ import annotations

import torch
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX


def class_planes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(C, P) probabilities, (C, P) 1.0 where the pixel has the class, (P,) whether it is labelled; P = N·H·W."""
    classes = logits.shape[1]
    labelled = (target != IGNORE_INDEX).flatten()
    probabilities = logits.softmax(1).transpose(0, 1).reshape(classes, -1)
    ids = torch.arange(classes, device=target.device).unsqueeze(1)
    return probabilities, (target.flatten().unsqueeze(0) == ids).float(), labelled


def mean_over_present(values: Tensor, members: Tensor) -> Tensor:
    """(C,) values → their mean over the classes that have a pixel in `members` (C, P); 0 if none has."""
    present = (members.sum(1) > 0).float()
    return (values * present).sum() / present.sum().clamp_min(1.0)
