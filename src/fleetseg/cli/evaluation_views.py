"""Options of ``fleetseg evaluate`` about what the network sees: size, scales, mirror image, windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.options import parse_size
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.runtime import Model
    from fleetseg.runtime.test_time import Views

ResizeOption = Annotated[
    str | None,
    typer.Option(
        "--resize",
        metavar="POLICY",
        help="Size that the network sees: none, half, a factor, or training (as many pixels as in training).",
    ),
]
ScalesOption = Annotated[
    str | None, typer.Option("--scales", metavar="A,B", help="Average over these scales, such as 0.75,1,1.25.")
]
FlipOption = Annotated[bool, typer.Option("--flip", help="Average with the mirror image.")]
WindowOption = Annotated[
    str | None, typer.Option("--window", metavar="WxH", help="Slide a window of this size over the image.")
]
OverlapOption = Annotated[
    float, typer.Option("--overlap", metavar="SHARE", help="Share of a window that the next one covers too.")
]

Size = tuple[int, int]
SizeRule = Callable[[Size], Size]

_RESIZE = "none, half, a factor such as 0.75, or training is needed"


def size_rule(model: Model, size: str | None, resize: str | None) -> SizeRule | None:
    """From an image's size to what the network sees; None: its own (or the one it was compiled for)."""
    if size is not None and resize is not None:
        raise UsageError(f"--size {size} and --resize {resize} both say what the network sees; one of them is needed")
    if size is not None:
        chosen = parse_size(size)
        return lambda _own: chosen
    if resize is None or resize == "none":
        return None
    if resize == "training":
        return _training_like(model)
    factor = 0.5 if resize == "half" else _number(resize, "--resize", _RESIZE)
    if not 0 < factor <= 8:
        raise UsageError(f"--resize {resize}: {_RESIZE}; a factor is above 0 and at most 8")
    return lambda own: (max(1, round(own[0] * factor)), max(1, round(own[1] * factor)))


def _training_like(model: Model) -> SizeRule:
    from fleetseg.runtime.network_size import training_like_size

    return lambda own: model.fixed_size or training_like_size(own, model.metadata.train_size)


def parse_views(scales: str | None, flip: bool, window: str | None, overlap: float) -> Views:
    """The views that are averaged; `UsageError` for what cannot be read."""
    from fleetseg.runtime.test_time import Views

    numbers = [
        _number(word, "--scales", "numbers with commas between are needed, such as 0.75,1,1.25")
        for word in (scales or "1").split(",")
    ]
    return Views(tuple(numbers), flip, parse_size(window, "--window") if window else None, overlap)


def _number(word: str, option: str, needed: str) -> float:
    if not re.fullmatch(r"\s*\d{1,4}(\.\d{1,6})?\s*", word):
        raise UsageError(f"{option} {word}: {needed}")
    return float(word)
