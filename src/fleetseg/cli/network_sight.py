"""``predict --size``: from an option and an image's size to the size that the network sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fleetseg.cli.options import parse_size

if TYPE_CHECKING:
    from fleetseg.runtime import Model

Size = tuple[int, int]
SizeRule = Callable[["Model", Size], Size]


def size_rule(option: str | None) -> SizeRule:
    """From a model and an image's size to the size that the network sees; it can be sent to other processes."""
    if option is None:
        return training_like
    return own_size if option == "native" else partial(_chosen_size, parse_size(option))


def own_size(_model: Model, own: Size) -> Size:
    """The rule of --size native."""
    return own


def _chosen_size(chosen: Size, _model: Model, _own: Size) -> Size:
    return chosen


def training_like(model: Model, own: Size) -> Size:
    """The rule without an option: about the training images' pixels, or what a compiled network takes."""
    from fleetseg.runtime.network_size import training_like_size

    if model.fixed_size is not None:
        return model.fixed_size
    return training_like_size(own, model.metadata.train_size)
