"""From windows to labels: a band of an image, row of tiles by row of tiles, at constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.grid import Band, Window, runs
from fleetseg.app.huge.plan import TILE, Plan
from fleetseg.labels import IGNORE_INDEX
from fleetseg.runtime.decision import best_class

Picture = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.float32]

#: Left, top and (width, height) in pixels of the labels → (height, width, 3) uint8 RGB.
Read = Callable[[int, int, tuple[int, int]], Picture]
#: Pictures of one size → (C, height, width) float32 probabilities of each.
Classify = Callable[[Sequence[Picture]], list[Sums]]


class Group(NamedTuple):
    """Neighbouring windows of one row, which are read together and are one run of the network."""

    windows: tuple[Window, ...]
    box: tuple[int, int, int, int]


def label_band(
    plan: Plan, band: Band, first_tile_row: int, window_batch: int, read: Read, classify: Classify
) -> Iterator[Picture]:
    """The rows of tiles of a band from `first_tile_row` on, each as (rows, columns) uint8 class ids, 255 for none.

    A row of tiles does not depend on where one begins: the windows that reach into it are the same, in the same order.
    """
    top, width = first_tile_row * TILE, band.right - band.left
    sums = np.zeros((plan.num_classes, plan.sum_rows, width), np.float32)
    groups = _ahead(list(_groups(plan, band, top, window_batch)), read)
    waiting = next(groups, None)
    for tile_row in range(first_tile_row, plan.tile_rows):
        top = tile_row * TILE
        bottom = min(top + TILE, plan.size[1])
        while waiting is not None and plan.grid.counted(waiting[0].windows[0])[1] < top + TILE:
            _add(plan, band, top, sums, *waiting, classify)
            waiting = next(groups, None)
        labels = best_class(iter(sums[:, : bottom - top]))
        unwanted = plan.unwanted((band.left, top, band.right, bottom))
        if unwanted is not None:
            labels[unwanted] = IGNORE_INDEX
        yield labels
        _move_up(sums)


def _groups(plan: Plan, band: Band, top: int, window_batch: int) -> Iterator[Group]:
    """Every window that counts in the band at or below `top`, row by row."""
    grid = plan.grid
    columns = grid.columns.touching(band.left, band.right)
    for row in grid.rows.touching(top, plan.size[1]):
        wanted = [column for column in columns if plan.wants(grid.counted(Window(row, column)))]
        for run in runs(wanted, window_batch):
            windows = tuple(Window(row, column) for column in run)
            left, above, _, _ = grid.box(windows[0])
            yield Group(windows, (left, above, *grid.box(windows[-1])[2:]))


def _ahead(groups: Sequence[Group], read: Read) -> Iterator[tuple[Group, Picture]]:
    """Each group with its pixels; the next one is read meanwhile."""

    def pixels(group: Group) -> Picture:
        left, top, right, bottom = group.box
        return read(left, top, (right - left, bottom - top))

    with ThreadPoolExecutor(1, "reading") as pool:
        coming = [pool.submit(pixels, group) for group in groups[:1]]
        for place, group in enumerate(groups):
            found = coming.pop().result()
            coming = [pool.submit(pixels, later) for later in groups[place + 1 : place + 2]]
            yield group, found


def _add(plan: Plan, band: Band, top: int, sums: Sums, group: Group, pixels: Picture, classify: Classify) -> None:
    """Add the weighted probabilities of a group's windows to the band's sums, whose first row is `top`."""
    boxes = [plan.grid.box(window) for window in group.windows]
    pictures = [np.ascontiguousarray(pixels[:, box[0] - group.box[0] : box[2] - group.box[0]]) for box in boxes]
    # The image's last window may be narrower: a run of the network takes pictures of one size.
    even = [picture for picture in pictures if picture.shape == pictures[0].shape]
    found = classify(even) + [classify([picture])[0] for picture in pictures[len(even) :]]
    for window, (left, above, _, _), probabilities in zip(group.windows, boxes, found, strict=True):
        x0, y0, x1, y1 = plan.grid.counted(window)
        x0, y0, x1 = max(x0, band.left), max(y0, top), min(x1, band.right)
        seen = (slice(y0 - above, y1 - above), slice(x0 - left, x1 - left))
        weights = plan.grid.weights(window)[seen]
        here = sums[:, y0 - top : y1 - top, x0 - band.left : x1 - band.left]
        for plane, probability in zip(here, probabilities, strict=True):
            plane += weights * probability[seen]


def _move_up(sums: Sums) -> None:
    """Let the sums begin a row of tiles further down; a plane at a time, since NumPy copies what overlaps."""
    for plane in sums:
        plane[:-TILE] = plane[TILE:]
        plane[-TILE:] = 0
