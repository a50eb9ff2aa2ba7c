"""Distances from a teacher against values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.losses.distillation import (
    channel_divergence,
    distillation_loss,
    pair_difference,
    pixel_divergence,
)
from fleetseg.training.recipe_distillation import DistillationSection

Distance = Callable[[Tensor, Tensor, Tensor], Tensor]

DISTANCES: dict[str, Distance] = {
    "pixels": lambda s, t, labelled: pixel_divergence(s, t, labelled, 2.0),
    "channels": lambda s, t, labelled: channel_divergence(s, t, labelled, 4.0),
    "pairs": lambda s, t, labelled: pair_difference(s, t, labelled, 2),
}


def kl(teacher: list[float], student: list[float]) -> float:
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def test_pixels() -> None:
    """T = 2 halves the logits: logits 2·ln(odds) of class 0. The second pixel is unlabelled."""
    student = torch.tensor([2 * math.log(1.0), 7.0, 0.0, -3.0]).view(1, 2, 1, 2)
    teacher = torch.tensor([2 * math.log(3.0), 1.0, 0.0, 2.0]).view(1, 2, 1, 2)
    labelled = torch.tensor([[[True, False]]])
    expected = 4 * kl([0.75, 0.25], [0.5, 0.5])
    assert float(pixel_divergence(student, teacher, labelled, 2.0)) == pytest.approx(expected, rel=1e-5)


def test_channels() -> None:
    """Class 0 stands at pixels 0 and 1 with odds 3:1 and 1:1, class 1 alike in both; pixel 2 is unlabelled."""
    student = torch.tensor([[0.0, 0.0, 9.0], [1.0, 1.0, 1.0]]).view(1, 2, 1, 3)
    teacher = torch.tensor([[math.log(3.0), 0.0, 2.0], [5.0, 5.0, 0.0]]).view(1, 2, 1, 3)
    labelled = torch.tensor([[[True, True, False]]])
    expected = (kl([0.75, 0.25], [0.5, 0.5]) + 0) / 2
    assert float(channel_divergence(student, teacher, labelled, 1.0)) == pytest.approx(expected, rel=1e-5)


def test_pairs() -> None:
    """Two regions at right angles for the teacher, parallel for the student: 2 of 4 pairs differ by 1."""
    teacher = torch.tensor([[2.0, 2.0, 0.0, 9.0], [0.0, 0.0, 1.0, 9.0]]).view(1, 2, 1, 4)
    student = torch.tensor([[1.0, 1.0, 3.0, -9.0], [1.0, 1.0, 3.0, 9.0]]).view(1, 2, 1, 4)
    labelled = torch.tensor([[[True, True, True, False]]])
    assert float(pair_difference(student, teacher, labelled, 2)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_unlabelled_pixels_give_no_gradient_and_equal_logits_no_loss(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(2, 4, 5, 6, generator=generator).requires_grad_()
    teacher = torch.randn(2, 4, 5, 6, generator=generator)
    labelled = torch.rand(2, 5, 6, generator=generator) < 0.6
    DISTANCES[name](student, teacher, labelled).backward()
    assert student.grad is not None
    by_pixel = student.grad.abs().sum(1)
    assert not bool(by_pixel[~labelled].any()) and bool((by_pixel[labelled] > 0).all())
    assert float(DISTANCES[name](teacher, teacher, labelled)) == pytest.approx(0, abs=1e-6)
    student.grad = None
    value = DISTANCES[name](student, teacher, torch.zeros_like(labelled))
    value.backward()
    assert float(value.detach()) == 0 and not bool(student.grad.any())


def test_only_where_the_teacher_is_right() -> None:
    """Of three pixels of class 0 the teacher calls the second class 1, and the third is unlabelled."""
    student = torch.zeros(1, 2, 1, 3, requires_grad=True)
    teacher = torch.tensor([[math.log(3.0), 0.0, 5.0], [0.0, math.log(3.0), 0.0]]).view(1, 2, 1, 3)
    target = torch.tensor([[[0, 0, IGNORE_INDEX]]])
    section = DistillationSection(teacher="t", temperature=1.0, only_right=True)
    loss = distillation_loss(section, student, teacher, target)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(kl([0.75, 0.25], [0.5, 0.5]), rel=1e-5)
    assert student.grad is not None and student.grad.abs().sum((0, 1, 2)).gt(0).tolist() == [True, False, False]


def test_the_recipes_sum() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(1, 3, 4, 4, generator=generator) for _ in range(2))
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    target[0, 0, 0] = IGNORE_INDEX
    section = DistillationSection(teacher="t", logits=2, channels=3, pairs=5, temperature=1.5, region=2)
    labelled = target != IGNORE_INDEX
    expected = (
        2 * pixel_divergence(student, teacher, labelled, 1.5)
        + 3 * channel_divergence(student, teacher, labelled, 1.5)
        + 5 * pair_difference(student, teacher, labelled, 2)
    )
    assert float(distillation_loss(section, student, teacher, target)) == pytest.approx(float(expected), rel=1e-5)
