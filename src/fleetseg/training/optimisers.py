"""Adam and its kin by name, with the stage's schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from fleetseg.training.recipe import StageSection
from fleetseg.training.schedules import learning_rate_factor


def build_optimiser(parameters: Iterable[nn.Parameter], stage: StageSection, batches_per_epoch: int) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` returns; frozen parameters are left out."""
    section = stage.optimiser
    cls = torch.optim.AdamW if section.name == "adamw" else torch.optim.Adam
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimiser = cls(trained, lr=section.learning_rate, weight_decay=section.weight_decay, fused=True)
    # What is left at an epoch's end, though fewer batches, makes a step too.
    steps_per_epoch = math.ceil(batches_per_epoch / section.accumulate)
    factor = learning_rate_factor(stage.schedule, stage.epochs, steps_per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
