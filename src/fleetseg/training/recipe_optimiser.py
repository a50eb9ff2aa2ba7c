"""What a recipe can say about the optimiser and its learning rate. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fleetseg.training.recipe_section import Section


class OptimiserSection(Section):
    """Adam (L2 decay in the gradient, as the papers) or AdamW (decoupled decay)."""

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=2e-4, ge=0)
    #: Batches whose gradients are averaged into one step, as if a batch were so many times larger.
    accumulate: int = Field(default=1, ge=1)
    #: Gradients whose common norm is above this are scaled down to it; None: never.
    clip: float | None = Field(default=None, gt=0)


class ScheduleSection(Section):
    """Learning rate over the stage, after a linear warm-up.

    constant; linear: to 0; poly: × (1 − progress)^power; cosine: half a cosine to 0; step: × `gamma` every
    `step_epochs`; milestones: × `gamma` at each epoch of `milestones`; exponential: as step, but a little every step;
    restarts: a cosine to 0 in `step_epochs`, again and again; one-cycle: from a 25th up by a cosine until the share
    `peak` of the stage, then down by one to a 10,000th (Smith, arXiv 1708.07120, without its momentum).
    """

    name: Literal[
        "constant", "step", "poly", "cosine", "linear", "milestones", "exponential", "restarts", "one-cycle"
    ] = "poly"
    warmup_epochs: float = Field(default=0.0, ge=0)
    power: float = Field(default=0.9, gt=0)
    step_epochs: int = Field(default=100, ge=1)
    gamma: float = Field(default=0.1, gt=0)
    milestones: tuple[int, ...] = ()
    peak: float = Field(default=0.3, gt=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> ScheduleSection:
        if self.name == "milestones" and (not self.milestones or list(self.milestones) != sorted(self.milestones)):
            raise ValueError(f"milestones is {list(self.milestones)}; epochs in rising order are needed")
        return self
