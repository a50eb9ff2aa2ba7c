"""What a recipe can say about the loss: terms, class weights, the auxiliary head. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fleetseg.data.class_weights import METHODS
from fleetseg.training.recipe_section import Section

TermName = Literal["cross-entropy", "ohem", "focal", "boundary", "lovasz", "dice"]

#: Term → its options with their defaults.
TERM_OPTIONS: dict[str, dict[str, float]] = {
    "cross-entropy": {"label_smoothing": 0.0},
    "ohem": {"threshold": 0.7, "keep": 0.0625},
    "focal": {"gamma": 2.0},
    "boundary": {"radius": 2, "factor": 4.0},
    "lovasz": {},
    "dice": {},
}


class LossTerm(Section):
    """One summand of the loss; see the file of its name in `training/losses`."""

    name: TermName
    #: Factor in the sum.
    weight: float = Field(default=1.0, gt=0)
    #: cross-entropy: share of the target spread over all classes.
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    #: ohem: a pixel whose class has a lower probability is hard and counts.
    threshold: float | None = Field(default=None, gt=0, le=1)
    #: ohem: this share of the labelled pixels, the hardest, counts in any case.
    keep: float | None = Field(default=None, gt=0, le=1)
    #: focal: exponent of 1 − probability; 0 is cross-entropy.
    gamma: float | None = Field(default=None, ge=0)
    #: boundary: pixels nearer than this to another class …
    radius: int | None = Field(default=None, ge=1, le=50)
    #: … weigh so much.
    factor: float | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_options(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {**TERM_OPTIONS.get(str(given.get("name")), {}), **given}

    @model_validator(mode="after")
    def _check_options(self) -> LossTerm:
        legal = TERM_OPTIONS[self.name]
        for option in sorted({option for options in TERM_OPTIONS.values() for option in options}):
            given = getattr(self, option) is not None
            if given and option not in legal:
                words = f"it has: {', '.join(legal)}" if legal else "it has none"
                raise ValueError(f"the term '{self.name}' has no option '{option}'; {words}")
            if not given and option in legal:
                raise ValueError(f"the term '{self.name}' needs a number as its option '{option}'")
        return self

    def option(self, name: str) -> float:
        """The value of an option that this term has."""
        value = getattr(self, name)
        assert value is not None
        return float(value)


def _class_weights(value: Any) -> Any:
    names = " or ".join((", ".join(f"'{name}'" for name in METHODS_ORDER[:-1]), f"'{METHODS_ORDER[-1]}'"))
    if isinstance(value, list | tuple):
        positive = (isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in value)
        if value and all(positive):
            return tuple(float(one) for one in value)
        raise ValueError("a list of class weights holds a number above 0 for each class")
    if value not in METHODS:
        raise ValueError(f"Input should be {names}, or a list of a number for each class")
    return value


#: In the order of the documentation.
METHODS_ORDER = ("none", "enet", "inverse", "median")


class LossSection(Section):
    """A sum of terms with class weights (see `data.class_weights`)."""

    #: A formula's name, or a weight for each class in id order. Lovász and Dice, which look at whole classes, use none.
    class_weights: Annotated[str | tuple[float, ...], BeforeValidator(_class_weights)] = "enet"
    #: The c of ENet's 1/ln(c + p); 1.02 is ENet's, 1.10 ESPNet's.
    c: float = Field(default=1.02, gt=1.0)
    terms: tuple[LossTerm, ...] = Field(default=(LossTerm(name="cross-entropy"),), min_length=1)
    #: Weight of the cross-entropy of a head at the encoder's end, trained beside the decoder and then dropped.
    auxiliary: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check_terms(self) -> LossSection:
        names = [term.name for term in self.terms]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the term '{twice}' is there twice; add its weights up in one")
        return self
