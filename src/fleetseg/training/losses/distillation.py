"""Losses that pull a network's logits towards a teacher's of the same shape, over the labelled pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.recipe_distillation import DistillationSection


def distillation_loss(section: DistillationSection, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    """The recipe's sum for (N, C, H, W) logits of both and (N, H, W) targets; float32 inside."""
    student, teacher = student.float(), teacher.float().detach()
    labelled = target != IGNORE_INDEX
    if section.only_right:
        labelled = labelled & (teacher.argmax(1) == target)
    result = student.new_zeros(())
    if section.logits:
        result = result + section.logits * pixel_divergence(student, teacher, labelled, section.temperature)
    if section.channels:
        result = result + section.channels * channel_divergence(student, teacher, labelled, section.temperature)
    if section.pairs:
        result = result + section.pairs * pair_difference(student, teacher, labelled, section.region)
    return result


def pixel_divergence(student: Tensor, teacher: Tensor, labelled: Tensor, temperature: float) -> Tensor:
    """T² · mean over pixels of KL(teacher ‖ student) between class probabilities (Hinton et al., arXiv 1503.02531)."""
    divergence = _divergence(student / temperature, teacher / temperature, dim=1)
    return temperature**2 * (divergence * labelled).sum() / labelled.sum().clamp_min(1)


def channel_divergence(student: Tensor, teacher: Tensor, labelled: Tensor, temperature: float) -> Tensor:
    """T² · mean over images and classes of KL(teacher ‖ student) between distributions over the pixels.

    Each class's logits, through a softmax over all pixels of an image, say where the class is (Shu et al., arXiv
    2011.13256, equations 4 and 5).
    """
    nowhere = torch.finfo(torch.float32).min / 4  # no infinity: an image without a labelled pixel stays finite
    hidden = ~labelled.unsqueeze(1)
    ours, theirs = ((one / temperature).masked_fill(hidden, nowhere).flatten(2) for one in (student, teacher))
    return temperature**2 * _divergence(ours, theirs, dim=2).mean()


def pair_difference(student: Tensor, teacher: Tensor, labelled: Tensor, region: int) -> Tensor:
    """Mean squared difference of the cosine similarities between all pairs of regions of an image.

    A region is a square of `region` pixels, described by its labelled pixels' mean logits (Liu et al., arXiv
    1903.04197, equations 1 and 2, on logits: any teacher has them). Regions without a labelled pixel are left out.
    """
    counts = _sums(labelled.unsqueeze(1).float(), region)
    there = (counts > 0).flatten(1).float()  # (N, R)
    similarities = []
    for logits in (student, teacher):
        # Cosines do not care about the sum's scale.
        vectors = F.normalize(_sums(logits * labelled.unsqueeze(1), region).flatten(2), dim=1, eps=1e-6)  # (N, C, R)
        similarities.append(vectors.transpose(1, 2) @ vectors)
    pairs = there.unsqueeze(1) * there.unsqueeze(2)
    squares = (similarities[0] - similarities[1]) ** 2
    return (squares * pairs).sum() / pairs.sum().clamp_min(1)


def _sums(planes: Tensor, region: int) -> Tensor:
    """(N, C, H, W) → sums over squares of `region` pixels; at the right and bottom edge over what is there."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (0, -width % region, 0, -height % region))
    return F.avg_pool2d(padded, region) * region**2


def _divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(teacher ‖ student) of softmaxes along `dim`, which vanishes."""
    ours, theirs = student.log_softmax(dim), teacher.log_softmax(dim)
    return (theirs.exp() * (theirs - ours)).sum(dim)
