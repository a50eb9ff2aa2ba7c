"""Outlines of the regions of a label image, along the edges of its pixels, so that their areas are the regions'.

A region is a set of pixels of one value that hang together by their edges. It is walked around with the region on the
left of the walker (y downward: the outer ring runs against the clock as one sees it on the screen, holes with it).
Where two pixels of one value touch only at a corner, the walker crosses to the other one if both belong to the same
region, and turns back to its own if not; so no ring meets itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

#: Corners (x, y), the first one repeated at the end.
Ring = list[list[float]]

#: Steps of the walker, (dx, dy): to the right, up, to the left, down; the next one is a turn to the left.
_STEPS = ((1, 0), (0, -1), (-1, 0), (0, 1))
#: Decimals of a coordinate.
_PLACES = 2


@dataclass
class Outline:
    """A region's outer ring and its holes."""

    outer: Ring
    holes: list[Ring] = field(default_factory=list)


def outlines(labels: npt.NDArray[np.uint8], value: int, pixel: tuple[float, float] = (1.0, 1.0)) -> list[Outline]:
    """Every region of `value` in an (H, W) image whose pixels are `pixel` (width, height) large.

    Outer rings run against the clock and holes with it, as RFC 7946 (3.1.6) wants, if y is taken as upward.
    """
    here = np.pad((labels == value).astype(np.uint8), 1)
    regions = np.asarray(cv2.connectedComponents(here, connectivity=4)[1], np.int32)
    found: dict[int, Outline] = {}
    holes: dict[int, list[Ring]] = defaultdict(list)
    for region, is_outer, ring in _rings(regions, pixel):
        if is_outer:
            found[region] = Outline(ring)
        else:
            holes[region].append(ring)
    for region, rings in holes.items():
        found[region].holes = rings
    return list(found.values())


def _rings(regions: npt.NDArray[np.int32], pixel: tuple[float, float]) -> Iterator[tuple[int, bool, Ring]]:
    """Each ring's region, whether it is the outer one, and its corners; `regions` has a border of 0."""
    starts, ends, directions, owners = _edges(regions)
    following = _following(starts, ends, directions, owners)
    # 1: a turn to the left at the step's end, -1: to the right.
    turns = (directions[following] - directions + 1) % 4 - 1
    walks = _walks(following.tolist(), turns.tolist())
    corners = _coordinates(ends[[edge for walk, _ in walks for edge in walk]], regions.shape[1] + 1, pixel)
    first = 0
    for walk, turned in walks:
        # Backwards: seen with y downward the walker went against the clock.
        ring = corners[first : first + len(walk)][::-1]
        first += len(walk)
        # All the way around is four turns to the left; around a hole, to the right.
        yield int(owners[walk[0]]), turned > 0, [*ring, ring[0]]


def _walks(after: list[int], turns: list[int]) -> list[tuple[list[int], int]]:
    """Each closed walk: its steps before a turn, and the turns to the left less those to the right."""
    done = bytearray(len(after))
    walks = []
    for first in range(len(after)):
        if done[first]:
            continue
        walk, turned, edge = [], 0, first
        while not done[edge]:
            done[edge] = 1
            if turns[edge]:
                walk.append(edge)
                turned += turns[edge]
            edge = after[edge]
        walks.append((walk, turned))
    return walks


def _coordinates(corners: npt.NDArray[np.int64], across: int, pixel: tuple[float, float]) -> Ring:
    """[x, y] of numbered corners, whole numbers if all are; the border is taken off."""
    points = np.stack((corners % across - 1, corners // across - 1), axis=1)
    scaled = np.round(points * np.array(pixel), _PLACES)
    whole = scaled.astype(np.int64)
    found: Ring = (whole if (whole == scaled).all() else scaled).tolist()
    return found


def _edges(regions: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], ...]:
    """Every step of every walk: start and end as numbers of corners, direction, and the region on its left."""
    across, (height, width) = regions.shape[1] + 1, regions.shape
    inner = regions[1:-1, 1:-1]
    parts = []
    for direction, (dx, dy) in enumerate(_STEPS):
        # The pixel on the right of the step, for that on its left.
        right = regions[1 + dx : height - 1 + dx, 1 - dy : width - 1 - dy]
        rows, columns = (found + 1 for found in np.nonzero((inner > 0) & (right != inner)))
        # The step's start, as seen from the upper left corner of the pixel on its left.
        x = columns + (direction in (1, 2))
        y = rows + (direction in (0, 1))
        start = y * across + x
        end = start + dy * across + dx
        parts.append((start, end, np.full(len(start), direction), regions[rows, columns].astype(np.int64)))
    starts, ends, directions, owners = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return starts, ends, directions, owners


def _following(
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    directions: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """For each step the number of the one that comes after it."""
    order = np.argsort(starts, kind="stable")
    first = np.searchsorted(starts[order], ends, side="left")
    last = np.searchsorted(starts[order], ends, side="right")
    following = order[first]
    two = np.nonzero(last - first == 2)[0]
    one, other = order[first[two]], order[first[two] + 1]
    # Crossing is a turn to the right, staying with one's own pixel a turn to the left.
    crosses = owners[one] == owners[other]
    wanted = (directions[two] + np.where(crosses, 3, 1)) % 4
    following[two] = np.where(directions[one] == wanted, one, other)
    return following
