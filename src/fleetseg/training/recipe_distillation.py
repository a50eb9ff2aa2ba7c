"""What a recipe can say about learning from a teacher. Needs no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from fleetseg.training.recipe_section import Section

#: As the teacher: the moving average of the network's own weights.
SELF = "self"


class DistillationSection(Section):
    """Terms that pull the network's logits towards a teacher's; they come on top of the loss of the labels."""

    #: Whatever `fleetseg.load` opens and whose classes include those of the data, or several of them, which teach the
    #: mean of their class probabilities; or `self`, which needs `ema`.
    teacher: str | tuple[str, ...]
    #: Weight of the divergence of each pixel's class probabilities (Hinton et al., arXiv 1503.02531).
    logits: float = Field(default=1.0, ge=0)
    #: Weight of the divergence of each class's distribution over the pixels (CWD, arXiv 2011.13256).
    channels: float = Field(default=0.0, ge=0)
    #: Weight of the squared difference of similarities between regions (structured distillation, arXiv 1903.04197).
    pairs: float = Field(default=0.0, ge=0)
    #: Divides the logits of both before the first two.
    temperature: float = Field(default=2.0, gt=0)
    #: Whether the teacher teaches only where it labels as the data do.
    only_right: bool = False
    #: Side of a region of the third, in pixels of the logits.
    region: int = Field(default=16, ge=1)

    @property
    def teachers(self) -> tuple[str, ...]:
        """The names, one or several."""
        return (self.teacher,) if isinstance(self.teacher, str) else self.teacher

    @model_validator(mode="after")
    def _check(self) -> DistillationSection:
        if not self.teachers or not all(self.teachers):
            raise ValueError("teacher is empty; name a model, a list of models, or self")
        twice = next((name for name in self.teachers if self.teachers.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"teacher: {twice} is there twice; name each model once")
        if len(self.teachers) > 1 and SELF in self.teachers:
            raise ValueError("teacher: self cannot teach beside other models; name them, or self alone")
        if self.logits == self.channels == self.pairs == 0:
            raise ValueError("logits, channels and pairs are all 0, so the teacher teaches nothing")
        return self
