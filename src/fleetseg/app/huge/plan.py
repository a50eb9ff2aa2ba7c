"""What is to be done with one image: its size, its windows, the bands in which they are worked off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.grid import Band, Grid, bands, grid
from fleetseg.runtime.test_time import Views

Size = tuple[int, int]

#: Width and height of a tile of labels, in all files.
TILE = 512
#: What the sums of probabilities may take (bytes); bands are as wide as that allows.
SUMS_MEMORY = 256 * 2**20


@dataclass(frozen=True)
class WindowOptions:
    """How windows slide; see docs/huge-images.md."""

    #: (width, height); None: what the network was compiled for or trained on.
    window: Size | None = None
    #: Share of a window that its neighbour covers too, 0 ≤ overlap < 1.
    overlap: float = 0.25
    #: Pixels of the image that make one that the network sees, along an edge.
    downsample: float = 1.0
    #: In which scales each window is seen, and whether mirrored too.
    views: Views = Views()  # noqa: RUF009 - frozen
    #: Leave out what is glass on a slide: neither seen nor counted, 255 in the labels.
    skip_background: bool = False
    #: How many windows the network sees at once.
    window_batch: int = 1


@dataclass(frozen=True)
class Plan:
    """One image's windows and bands."""

    #: Of the image, and of its labels.
    image_size: Size
    size: Size
    downsample: float
    num_classes: int
    grid: Grid
    #: (h, w) bool over the whole image: what is to be labelled; None: everything.
    wanted: npt.NDArray[np.bool_] | None = None

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Bands of whole tiles, as wide as `SUMS_MEMORY` allows."""
        a_column = 4 * self.num_classes * self.sum_rows
        return bands(self.size[0], max(1, SUMS_MEMORY // a_column // TILE) * TILE)

    @property
    def sum_rows(self) -> int:
        """Rows whose sums are held at once: a row of tiles and what windows beginning in it reach beyond."""
        return TILE + self.grid.rows.window

    @property
    def tile_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.size[1] // TILE)

    def wants(self, box: tuple[int, int, int, int]) -> bool:
        """Whether anything in a box (left, top, right, bottom of the labels) is to be labelled."""
        return self.wanted is None or bool(self.wanted[self._inside(box)].any())

    def unwanted(self, box: tuple[int, int, int, int]) -> npt.NDArray[np.bool_] | None:
        """(height, width) of a box: True where nothing is to be labelled; None: nowhere."""
        if self.wanted is None:
            return None
        left, top, right, bottom = box
        rows = (np.arange(top, bottom) * self.wanted.shape[0]) // self.size[1]
        columns = (np.arange(left, right) * self.wanted.shape[1]) // self.size[0]
        return np.asarray(~self.wanted[rows][:, columns], bool)

    def _inside(self, box: tuple[int, int, int, int]) -> tuple[slice, slice]:
        assert self.wanted is not None
        height, width = self.wanted.shape
        left, top, right, bottom = box
        rows = slice(top * height // self.size[1], (bottom - 1) * height // self.size[1] + 1)
        return rows, slice(left * width // self.size[0], (right - 1) * width // self.size[0] + 1)


def plan_for(
    image_size: Size, num_classes: int, window: Size, options: WindowOptions, wanted: npt.NDArray[np.bool_] | None
) -> Plan:
    """The plan for an image of `image_size`; `UsageError` for windows that cannot slide."""
    width, height = (max(1, int(side / options.downsample)) for side in image_size)
    return Plan(
        image_size, (width, height), options.downsample, num_classes,
        grid((width, height), window, options.overlap), wanted,
    )  # fmt: skip
