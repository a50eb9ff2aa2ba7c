"""A tiled, pyramidal TIFF of class ids, which tifffile, OpenSlide, QuPath and libvips open.

Levels are pages one after another, each half the one before, as generic tiled pyramids are; the palette shows the
classes, so a viewer shows colours and a program reads ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fleetseg.app.huge.plan import TILE, Size
from fleetseg.app.huge.tile_store import Labels, TileStore
from fleetseg.atomic import replacing
from fleetseg.labels import LabelSet
from fleetseg.optional_packages import need

#: From so many pixels the offsets of a plain TIFF, 32 bits, may not do.
_BIG = 2**31


def level_sizes(size: Size) -> list[Size]:
    """(width, height) of each level, each half the one before, until one tile holds it."""
    sizes = [size]
    while max(sizes[-1]) > TILE:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def add_levels(store: TileStore, size: Size) -> None:
    """Make the smaller levels in a store that has the first: every second pixel, so that no class is invented."""
    for level, (width, height) in enumerate(level_sizes(size)[1:], start=1):
        for row in range(-(-height // TILE)):
            store.put_row(level, row, [_halved(store, level, row, column) for column in range(-(-width // TILE))])


def _halved(store: TileStore, level: int, row: int, column: int) -> Labels:
    quarters = [
        [store.tile(level - 1, 2 * row + down, 2 * column + across)[::2, ::2] for across in (0, 1)] for down in (0, 1)
    ]
    return np.block(quarters)


def whole_level(store: TileStore, size: Size, longest: int) -> tuple[Labels, int]:
    """The largest level of at most `longest` pixels an edge, and how many pixels of level 0 one of its stands for."""
    sizes = level_sizes(size)
    level = next(number for number, found in enumerate(sizes) if max(found) <= longest or number == len(sizes) - 1)
    width, height = sizes[level]
    labels = np.empty((height, width), np.uint8)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            part = labels[top : top + TILE, left : left + TILE]
            part[:] = store.tile(level, top // TILE, left // TILE)[: part.shape[0], : part.shape[1]]
    return labels, 2**level


def tiff_writer(path: Path) -> Any:
    """The package that writes `path`; `MissingExtraError` without it."""
    return need("tifffile", f"writing {path.name}", "huge")


def write_label_tiff(
    path: Path, store: TileStore, size: Size, labels: LabelSet, description: Mapping[str, Any]
) -> None:
    """Write all levels, atomically; `OutputError` if that is impossible, `MissingExtraError` without tifffile.

    `description` is what the first page says about itself, as JSON.
    """
    tifffile = tiff_writer(path)
    colours = np.ascontiguousarray(labels.colour_table().T.astype(np.uint16) * 257)
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=size[0] * size[1] > _BIG) as file:
        for level, (width, height) in enumerate(level_sizes(size)):
            file.write(
                _tiles(store, level, (width, height)),
                shape=(height, width),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="palette",
                colormap=colours,
                compression="adobe_deflate",
                subfiletype=1 if level else 0,
                description=json.dumps(description) if level == 0 else None,
                software="fleetseg" if level == 0 else None,
                metadata=None,
            )


def _tiles(store: TileStore, level: int, size: Size) -> Iterator[bytes]:
    for row in range(-(-size[1] // TILE)):
        for column in range(-(-size[0] // TILE)):
            yield store.content(level, row, column)
