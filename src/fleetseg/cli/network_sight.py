"""``predict --size``: from an option and an image's size to the size that the network sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetseg.cli.options import parse_size

if TYPE_CHECKING:
    from fleetseg.runtime import Model

Size = tuple[int, int]
SizeRule = Callable[["Model", Size], Size]


def size_rule(option: str | None) -> SizeRule:
    """From a model and an image's size to the size that the network sees."""
    if option is None:
        return training_like
    if option == "native":
        return lambda _model, own: own
    chosen = parse_size(option)
    return lambda _model, _own: chosen


def training_like(model: Model, own: Size) -> Size:
    """The rule without an option: about the training images' pixels, or what a compiled network takes."""
    from fleetseg.runtime.network_size import training_like_size

    if model.fixed_size is not None:
        return model.fixed_size
    return training_like_size(own, model.metadata.train_size)
