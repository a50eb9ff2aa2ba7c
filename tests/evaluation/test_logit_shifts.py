"""Constants a class that make mIoU highest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetseg.evaluation import logit_shifts
from fleetseg.evaluation.logit_shifts import LIMIT, Logits, Targets, best_shifts, miou


def blurred(seed: int, pixels: int = 4000, classes: int = 4) -> tuple[Logits, Targets]:
    """Logits that know the target a little."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, pixels).astype(np.uint8)
    logits = random.normal(size=(pixels, classes)).astype(np.float32)
    logits[np.arange(pixels), targets] += 2
    return logits, targets


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_all_steps_at_once_are_each_step_by_itself(seed: int, one: int) -> None:
    logits, targets = blurred(seed, 200)
    logits = np.round(2 * logits) / 2  # so that many are equal, between classes and with the steps
    steps = np.arange(-2, 2.1, 0.5, dtype=np.float32)
    expected = [miou(logits, targets, step * np.eye(4, dtype=np.float32)[one]) for step in steps]
    np.testing.assert_allclose(logit_shifts._miou_along(logits, targets, one, steps), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_what_was_added_is_taken_back(seed: int) -> None:
    logits, targets = blurred(seed, 40_000)
    added = np.array([1.0, -1.5, 0.5, 0.0], np.float32)
    zero = np.zeros_like(added)
    shifts = best_shifts(logits + added, targets)
    assert shifts.mean() == pytest.approx(0, abs=1e-6) and np.abs(shifts).max() < LIMIT
    np.testing.assert_allclose(shifts, -(added - added.mean()), atol=0.2)
    assert miou(logits + added, targets, shifts) >= miou(logits, targets, zero) > miou(logits + added, targets, zero)


def test_a_class_without_targets_does_not_count() -> None:
    logits, targets = blurred(1, 40_000)
    kept = targets != 2
    logits, targets = logits[kept], targets[kept]
    shifts = best_shifts(logits, targets)
    assert shifts[2] == shifts.min(), "predicting it can only be wrong"
    assert miou(logits, targets, shifts) > miou(logits, targets, np.zeros_like(shifts))


def test_perfect_logits_stay_perfect() -> None:
    targets = np.arange(40, dtype=np.uint8) % 4
    logits = 9 * np.eye(4, dtype=np.float32)[targets]
    assert miou(logits, targets, best_shifts(logits, targets)) == 1.0
