"""The weighted sum of terms that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fleetseg.training.losses.boundary import boundary
from fleetseg.training.losses.cross_entropy import cross_entropy
from fleetseg.training.losses.dice import dice
from fleetseg.training.losses.focal import focal
from fleetseg.training.losses.lovasz import lovasz
from fleetseg.training.losses.ohem import ohem
from fleetseg.training.recipe_loss import LossTerm

#: (logits, target, class weights) → scalar.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def build_loss(terms: tuple[LossTerm, ...]) -> Loss:
    """The sum of `terms`, each times its weight, of logits in whatever precision; float32 inside."""
    summands = [(term.weight, _term(term)) for term in terms]

    def total(logits: Tensor, target: Tensor, class_weights: Tensor) -> Tensor:
        logits = logits.float()
        losses = [loss(logits, target, class_weights) for _, loss in summands]
        weighted = [loss if weight == 1 else weight * loss for (weight, _), loss in zip(summands, losses, strict=True)]
        result = weighted[0]
        for one in weighted[1:]:
            result = result + one
        return result

    return total


def _term(term: LossTerm) -> Loss:
    if term.name == "cross-entropy":
        smoothing = term.option("label_smoothing")
        return lambda logits, target, weights: cross_entropy(logits, target, weights, smoothing)
    if term.name == "ohem":
        threshold, keep = term.option("threshold"), term.option("keep")
        return lambda logits, target, weights: ohem(logits, target, weights, threshold, keep)
    if term.name == "focal":
        gamma = term.option("gamma")
        return lambda logits, target, weights: focal(logits, target, weights, gamma)
    if term.name == "boundary":
        radius, factor = int(term.option("radius")), term.option("factor")
        return lambda logits, target, weights: boundary(logits, target, weights, radius, factor)
    whole_classes = {"lovasz": lovasz, "dice": dice}[term.name]
    return lambda logits, target, _weights: whole_classes(logits, target)
