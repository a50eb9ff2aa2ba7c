"""Lovász-softmax: a smooth stand-in for the mean IoU itself."""

from __future__ import annotations

import torch
from torch import Tensor

from fleetseg.training.losses.per_class import class_planes, mean_over_present


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes of the batch of the Lovász extension of 1 − IoU (Berman et al., arXiv 1705.08790).

    A pixel's error for a class is 1 − p where it has the class and p elsewhere; sorted by error, each pixel counts as
    much as the Jaccard loss rises when it turns wrong after those before it.
    """
    probabilities, members, labelled = class_planes(logits, target)
    # Unlabelled pixels come last and count nothing.
    errors = torch.where(labelled, (members - probabilities).abs(), -1.0)
    errors, order = errors.sort(dim=1, descending=True)
    rises = jaccard_rises(members.gather(1, order))
    return mean_over_present((errors.clamp_min(0.0) * rises).sum(1), members)


def jaccard_rises(members: Tensor) -> Tensor:
    """(C, P) memberships in the order of their errors → how much each pixel turning wrong adds to 1 − IoU."""
    total = members.sum(1, keepdim=True)
    missed = members.cumsum(1)
    union = total + (1 - members).cumsum(1)
    losses = 1 - (total - missed) / union
    return torch.cat((losses[:, :1], losses.diff(dim=1)), dim=1)
