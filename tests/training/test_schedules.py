"""Learning-rate factors against values computed by hand."""

from __future__ import annotations

import pytest

from fleetseg.training.recipe import ScheduleSection
from fleetseg.training.schedules import learning_rate_factor


def factors(epochs: int, steps: int, at: list[int], **schedule: object) -> list[float]:
    factor = learning_rate_factor(ScheduleSection.model_validate(schedule), epochs, steps)
    return [factor(step) for step in at]


def test_constant() -> None:
    assert factors(3, 10, [0, 7, 29], name="constant") == [1, 1, 1]


def test_step_multiplies_every_so_many_epochs() -> None:
    values = factors(6, 10, [0, 19, 20, 39, 40, 59], name="step", step_epochs=2, gamma=0.5)
    assert values == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_poly_falls_to_nothing() -> None:
    values = factors(2, 10, [0, 5, 10, 15, 20], name="poly", power=2.0)
    assert values == pytest.approx([1, 0.5625, 0.25, 0.0625, 0])


def test_poly_with_the_usual_power() -> None:
    assert factors(1, 100, [50], name="poly", power=0.9) == pytest.approx([0.5358867])


def test_cosine_is_half_a_wave() -> None:
    values = factors(1, 12, [0, 3, 4, 6, 8, 12], name="cosine")
    assert values == pytest.approx([1, 0.8535534, 0.75, 0.5, 0.25, 0])


def test_warmup_rises_linearly_then_the_schedule_uses_what_is_left() -> None:
    values = factors(3, 4, [0, 1, 2, 3, 4, 8, 12], name="poly", power=1.0, warmup_epochs=1)
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 0.5, 0])


def test_warmup_of_half_an_epoch() -> None:
    assert factors(2, 4, [0, 1, 2, 3], name="constant", warmup_epochs=0.5) == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_warmup_as_long_as_the_stage() -> None:
    values = factors(1, 3, [0, 1, 2, 3], name="poly", warmup_epochs=1)
    assert values == pytest.approx([0.25, 0.5, 0.75, 1])


def test_steps_beyond_the_end_stay_at_the_end() -> None:
    assert factors(1, 5, [5, 6, 50], name="poly") == [0, 0, 0]


def test_linear() -> None:
    assert factors(1, 8, [0, 2, 8], name="linear") == pytest.approx([1, 0.75, 0])


def test_milestones() -> None:
    values = factors(9, 10, [0, 29, 30, 59, 60], name="milestones", milestones=[3, 6], gamma=0.5)
    assert values == [1, 1, 0.5, 0.5, 0.25]


def test_exponential_is_step_without_stairs() -> None:
    values = factors(8, 10, [0, 10, 20, 40], name="exponential", step_epochs=2, gamma=0.25)
    assert values == pytest.approx([1, 0.5, 0.25, 0.0625])


def test_restarts() -> None:
    values = factors(4, 10, [0, 10, 15, 20, 30], name="restarts", step_epochs=2)
    assert values == pytest.approx([1, 0.5, (1 - 2**-0.5) / 2, 1, 0.5])


def test_one_cycle() -> None:
    """Up from 1/25 by half a cosine, down to 1/10000 by another."""
    values = factors(1, 100, [0, 10, 20, 60, 100], name="one-cycle", peak=0.2)
    assert values == pytest.approx([0.04, 0.52, 1, 0.50005, 0.0001])
