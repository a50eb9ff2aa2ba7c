"""Learning-rate factors by name, as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from fleetseg.training.recipe import ScheduleSection


def learning_rate_factor(schedule: ScheduleSection, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Step (from 0) → factor on the base learning rate; the warm-up's steps count towards the whole.

    The warm-up of n steps rises linearly from 1/(n + 1); poly and cosine reach 0 after the last step; step
    counts its epochs from the stage's start.
    """
    total = max(1, epochs * steps_per_epoch)
    warmup = schedule.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1.0, total - warmup))
        if schedule.name == "poly":
            return float((1 - progress) ** schedule.power)
        if schedule.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if schedule.name == "step":
            return float(schedule.gamma ** (step // steps_per_epoch // schedule.step_epochs))
        return 1.0

    return factor
