"""Where windows lie on an image and how much each of their pixels counts.

Neighbours share `overlap` pixels. Of these the outer quarter, where a window sees least around it, counts nothing;
over the half in the middle one window fades linearly into the next; their weights add up to one there. So an answer
that depends on no more than a quarter of the overlap around a pixel is the same whatever the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fleetseg.data.slides import starts
from fleetseg.errors import UsageError

#: Windows begin at multiples of this, the networks' coarsest grid: a pixel then lies at the same place of that grid
#: in every window that shows it.
ALIGNMENT = 8


@dataclass(frozen=True)
class Axis:
    """Windows along one edge of an image."""

    length: int
    window: int
    overlap: int
    starts: tuple[int, ...]

    def end(self, place: int) -> int:
        """Where window number `place` ends, at most at the image's end."""
        return min(self.starts[place] + self.window, self.length)

    def counted(self, place: int) -> tuple[int, int]:
        """Begin and end of the pixels that count in window number `place`."""
        margin = self.overlap // 4
        first, last = place == 0, place == len(self.starts) - 1
        return self.starts[place] + (0 if first else margin), self.end(place) - (0 if last else margin)

    def weights(self, place: int) -> npt.NDArray[np.float32]:
        """(end − start,) float32 from 0 to 1: how much each pixel of window number `place` counts."""
        size = self.end(place) - self.starts[place]
        weights = np.ones(size, np.float32)
        if self.overlap:
            margin = self.overlap // 4
            distance = np.arange(size, dtype=np.float32) + np.float32(0.5)
            rising = np.clip((distance - margin) / (self.overlap - 2 * margin), 0, 1)
            if place > 0:
                weights *= rising
            if place < len(self.starts) - 1:
                weights *= rising[::-1]
        return weights

    def touching(self, begin: int, end: int) -> list[int]:
        """Numbers of the windows that count somewhere from `begin` to `end`."""
        found = []
        for place in range(len(self.starts)):
            first, last = self.counted(place)
            if first < end and last > begin:
                found.append(place)
        return found


def axis(length: int, window: int, share: float) -> Axis:
    """Windows of `window` pixels along `length`, of which `share` (0 ≤ share < 1) at least is their neighbour's too.

    `UsageError` if windows of this size cannot overlap so much and yet go on.
    """
    step = int(window * (1 - share)) // ALIGNMENT * ALIGNMENT
    if step < 1:
        raise UsageError(
            f"windows of {window} pixels with {share:g} of overlap move on by less than {ALIGNMENT}; "
            f"a larger window or less overlap is needed"
        )
    places = (-(-int(start) // ALIGNMENT) * ALIGNMENT for start in starts(length, window, step))
    return Axis(length, window, window - step, tuple(places))


@dataclass(frozen=True)
class Window:
    """One window: its numbers along both axes."""

    row: int
    column: int


@dataclass(frozen=True)
class Grid:
    """Windows over an image of labels."""

    columns: Axis
    rows: Axis

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self.columns.length, self.rows.length

    def box(self, window: Window) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        left, top = self.columns.starts[window.column], self.rows.starts[window.row]
        return left, top, self.columns.end(window.column), self.rows.end(window.row)

    def counted(self, window: Window) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels that count."""
        (left, right), (top, bottom) = self.columns.counted(window.column), self.rows.counted(window.row)
        return left, top, right, bottom

    def weights(self, window: Window) -> npt.NDArray[np.float32]:
        """(height, width) float32."""
        return np.outer(self.rows.weights(window.row), self.columns.weights(window.column))

    def __len__(self) -> int:
        return len(self.columns.starts) * len(self.rows.starts)


def grid(size: tuple[int, int], window: tuple[int, int], share: float) -> Grid:
    """Windows (width, height) over an image of `size`; `UsageError` as `axis`."""
    return Grid(axis(size[0], window[0], share), axis(size[1], window[1], share))


@dataclass(frozen=True)
class Band:
    """Columns `left` to `right` of the image of labels, which are worked off from top to bottom."""

    number: int
    left: int
    right: int


def bands(width: int, widest: int) -> tuple[Band, ...]:
    """Cut `width` into bands of `widest` pixels, the last one narrower."""
    edges = [*range(0, width, widest), width]
    return tuple(Band(number, *pair) for number, pair in enumerate(pairwise(edges)))


def runs(places: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
    """Divide ascending numbers into runs of neighbours, each of at most `most`."""
    run: tuple[int, ...] = ()
    for place in places:
        if run and (place != run[-1] + 1 or len(run) == most):
            yield run
            run = ()
        run = (*run, place)
    if run:
        yield run
