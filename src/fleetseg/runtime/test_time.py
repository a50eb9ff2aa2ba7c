"""More than one look at an image: several scales, mirrored, in sliding windows; probabilities are averaged.

It costs as many runs of the network as there are views and is for measuring, not for real time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetseg.errors import UsageError
from fleetseg.image import resize_image, resize_logits
from fleetseg.runtime.model import Image, Mask, Model, Size

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """Which views of an image are averaged; the default is the image as it is."""

    scales: Sequence[float] = (1.0,)
    #: Also the mirror image, at every scale.
    flip: bool = False
    #: (width, height) of the windows in which the scaled image is seen; None: whole.
    window: Size | None = None
    #: Share of a window that its neighbour covers too, 0 ≤ overlap < 1.
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise UsageError(f"the scales {list(self.scales)} cannot be used; numbers above 0 and up to 8 are needed")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"the overlap {self.overlap} is no part of a window; at least 0 and below 1 is needed")
        if self.window is not None and min(self.window) < 1:
            raise UsageError(f"a window of {self.window[0]}×{self.window[1]} is empty")

    @property
    def plain(self) -> bool:
        """Whether one look at the whole image is all."""
        return tuple(self.scales) == (1.0,) and not self.flip and self.window is None


class ViewedModel:
    """A model with a rule for the size that it sees and the views that are averaged."""

    def __init__(self, model: Model, seen: Callable[[Size], Size] | None = None, views: Views | None = None) -> None:
        """`seen` turns an image's (width, height) into what scale 1 is, by default the same.

        `UsageError` for views that a compiled network, made for one size, cannot see.
        """
        self._model = model
        self._seen = seen
        self._views = views or Views()
        fixed = model.fixed_size
        if fixed is not None and (tuple(self._views.scales) != (1.0,) or self._views.window not in (None, fixed)):
            raise UsageError(
                f"{model.source}: was compiled for {fixed[0]}×{fixed[1]} and sees nothing else; scales need a model "
                f"that is not compiled, and windows of that size"
            )

    def predict(self, image: Image) -> Mask:
        """(H, W) class ids."""
        if self._views.plain:
            return self._model.predict(image, self._size(image))
        return np.asarray(self.probabilities(image).argmax(axis=0), np.uint8)

    def predict_with_confidence(self, image: Image) -> tuple[Mask, npt.NDArray[np.float32]]:
        """Class ids and the averaged probability of each pixel's class."""
        if self._views.plain:
            return self._model.predict_with_confidence(image, self._size(image))
        probabilities = self.probabilities(image)
        return np.asarray(probabilities.argmax(axis=0), np.uint8), probabilities.max(axis=0)

    def probabilities(self, image: Image) -> Probabilities:
        """(C, H, W) float32: the mean over all views, each at the image's own size."""
        width, height = self._size(image)
        mirrored = (False, True) if self._views.flip else (False,)
        total, count = None, 0
        for scale, mirror in itertools.product(self._views.scales, mirrored):
            size = max(1, round(width * scale)), max(1, round(height * scale))
            view = np.ascontiguousarray(image[:, ::-1]) if mirror else image
            found = self._one_view(view, size)
            found = found[:, :, ::-1] if mirror else found
            total, count = found.copy() if total is None else np.add(total, found, out=total), count + 1
        assert total is not None  # a scale is certain
        total /= count
        return total

    def _size(self, image: Image) -> Size:
        own = (image.shape[1], image.shape[0])
        if self._seen is not None:
            return self._seen(own)
        if self._views.window is None and self._model.fixed_size is not None:
            return self._model.fixed_size
        return own

    def _one_view(self, image: Image, size: Size) -> Probabilities:
        window = self._views.window
        if window is None or (size[0] <= window[0] and size[1] <= window[1]):
            return self._model.probabilities(image, size)
        scaled = resize_image(image, size)
        total = np.zeros((len(self._model.classes), size[1], size[0]), np.float32)
        times = np.zeros((size[1], size[0]), np.float32)
        for across, down in _places(size, window, self._views.overlap):
            total[:, down, across] += self._model.probabilities(np.ascontiguousarray(scaled[down, across]))
            times[down, across] += 1
        total /= times
        return resize_logits(total, (image.shape[1], image.shape[0]))


def _places(size: Size, window: Size, overlap: float) -> Iterator[tuple[slice, slice]]:
    """Columns and rows of windows that cover an image, the last ones moved back to end with it."""
    starts = [_starts(length, side, overlap) for length, side in zip(size, window, strict=True)]
    for row, column in itertools.product(starts[1], starts[0]):
        yield slice(column, min(size[0], column + window[0])), slice(row, min(size[1], row + window[1]))


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    step = max(1, round(side * (1 - overlap)))
    return [*range(0, length - side, step), length - side]
