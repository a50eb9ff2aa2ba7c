"""Learning-rate factors by name, as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from fleetseg.training.recipe_optimiser import ScheduleSection

#: one-cycle starts at this factor and ends at that one.
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-4


def learning_rate_factor(schedule: ScheduleSection, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Step (from 0) → factor on the base learning rate; the warm-up's steps count towards the whole.

    The warm-up of n steps rises linearly from 1/(n + 1); linear, poly and cosine reach 0 after the last step; step,
    milestones, exponential and restarts count their epochs from the stage's start.
    """
    total = max(1, epochs * steps_per_epoch)
    warmup = schedule.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if schedule.name in ("step", "milestones", "exponential", "restarts"):
            return _by_epochs(schedule, step, steps_per_epoch)
        return _by_progress(schedule, min(1.0, (step - warmup) / max(1.0, total - warmup)))

    return factor


def _by_epochs(schedule: ScheduleSection, step: int, steps_per_epoch: int) -> float:
    """Schedules that look at the number of finished epochs."""
    epoch = step // steps_per_epoch
    if schedule.name == "step":
        return float(schedule.gamma ** (epoch // schedule.step_epochs))
    if schedule.name == "milestones":
        return float(schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones))
    cycles = step / (steps_per_epoch * schedule.step_epochs)
    if schedule.name == "exponential":
        return float(schedule.gamma**cycles)
    return _between(1.0, 0.0, cycles % 1)


def _by_progress(schedule: ScheduleSection, progress: float) -> float:
    """Schedules that look at the share of the stage, 0 to 1, that is done."""
    if schedule.name == "poly":
        return float((1 - progress) ** schedule.power)
    if schedule.name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule.name == "linear":
        return 1 - progress
    if schedule.name == "one-cycle" and progress < schedule.peak:
        return _between(ONE_CYCLE_START, 1.0, progress / schedule.peak)
    if schedule.name == "one-cycle":
        return _between(1.0, ONE_CYCLE_END, (progress - schedule.peak) / (1 - schedule.peak))
    return 1.0


def _between(start: float, end: float, progress: float) -> float:
    """Along half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
