"""Regions of whole-slide images, read where they lie: OpenSlide for scanners' formats, tifffile for plain TIFF."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetseg.errors import DataError, ImageError
from fleetseg.image import resize_image, resize_mask
from fleetseg.optional_packages import need

#: What OpenSlide alone reads; it also reads tiled TIFF, but that tifffile does without a library of C.
SCANNER_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
SLIDE_SUFFIXES = SCANNER_SUFFIXES | TIFF_SUFFIXES

#: A region of more pixels is read in parts (64 MB): a file without smaller levels has to be read at its full size.
_MOST_PIXELS = 2**26 // 3

_EXPECTED = "a whole slide is a pyramidal TIFF or a scanner's file (SVS, NDPI, MRXS, SCN, BIF)"


class Regions(Protocol):
    """An image that is read a region at a time."""

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level, largest first."""
        ...

    def region(self, left: int, top: int, size: tuple[int, int], downsample: float) -> npt.NDArray[np.uint8]:
        """See `SlideFile.region`."""
        ...


class SlideFile:
    """A slide or its label image; every read opens the file, so that worker processes share no handle."""

    def __init__(self, path: Path) -> None:
        """Look at the file's levels; `ImageError` if it cannot be read."""
        self.path = path
        try:
            sizes = self._sizes()
        except (ImageError, DataError):
            raise
        except Exception as error:  # readers of many formats raise what they like
            raise ImageError(f"{path}: the slide cannot be read ({error}); {_EXPECTED}") from error
        #: (width, height) of each level, largest first.
        self.sizes: tuple[tuple[int, int], ...] = tuple(sizes)

    def region(self, left: int, top: int, size: tuple[int, int], downsample: float) -> npt.NDArray[np.uint8]:
        """A window as (height, width[, 3]) uint8 of `size` (W, H); beyond the slide white, or 255 in a label.

        left, top: in pixels of level 0. downsample: level-0 pixels a result pixel; the next finer level is read and
        resized, class ids by their centre.
        """
        level = max(number for number, ratio in enumerate(self.ratios()) if ratio <= downsample * 1.001)
        ratio = self.ratios()[level]
        wide = (max(1, round(size[0] * downsample / ratio)), max(1, round(size[1] * downsample / ratio)))
        if wide[0] * wide[1] > _MOST_PIXELS and max(size) > 1:
            return self._in_halves(left, top, size, downsample)
        try:
            pixels = self._read(level, round(left / ratio), round(top / ratio), wide)
        except Exception as error:  # as above
            raise ImageError(f"{self.path}: the region at {left}, {top} cannot be read ({error})") from error
        return resize_mask(pixels, size) if pixels.ndim == 2 else resize_image(pixels, size)

    def _in_halves(self, left: int, top: int, size: tuple[int, int], downsample: float) -> npt.NDArray[np.uint8]:
        """The region, read in two parts."""
        (width, height), down = size, size[1] >= size[0]
        half = max(size) // 2
        first, second = ((width, half), (width, height - half)) if down else ((half, height), (width - half, height))
        beyond = round(half * downsample)
        parts = (
            self.region(left, top, first, downsample),
            self.region(left + (0 if down else beyond), top + (beyond if down else 0), second, downsample),
        )
        return np.concatenate(parts, axis=0 if down else 1)

    def ratios(self) -> list[float]:
        """Level-0 pixels a pixel of each level."""
        return [self.sizes[0][0] / width for width, _ in self.sizes]

    @property
    def microns(self) -> tuple[float, float] | None:
        """(width, height) of a level-0 pixel in micrometres, where a scanner's file or OME-TIFF says it."""
        if self._by_openslide:
            with need("openslide", f"reading {self.path.name}").OpenSlide(str(self.path)) as slide:
                found = [slide.properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
        else:
            with need("tifffile", f"reading {self.path.name}").TiffFile(str(self.path)) as file:
                text = file.ome_metadata or ""
            sizes = [re.search(rf'PhysicalSize{axis}="([\d.eE+-]+)"', text) for axis in "XY"]
            # Without a unit OME means micrometres; other units are rare enough to be left out.
            other_unit = re.search(r'PhysicalSize[XY]Unit="(?!µm")', text)
            found = [None if size is None or other_unit else size[1] for size in sizes]
        try:
            width, height = (float(value or "") for value in found)
        except ValueError:
            return None
        return (width, height) if min(width, height) > 0 else None

    @property
    def _by_openslide(self) -> bool:
        return self.path.suffix.lower() in SCANNER_SUFFIXES

    def _sizes(self) -> list[tuple[int, int]]:
        if self._by_openslide:
            with need("openslide", f"reading {self.path.name}").OpenSlide(str(self.path)) as slide:
                return [(int(width), int(height)) for width, height in slide.level_dimensions]
        with need("tifffile", f"reading {self.path.name}").TiffFile(str(self.path)) as file:
            return [(int(level.shape[1]), int(level.shape[0])) for level in file.series[0].levels]

    def _read(self, level: int, left: int, top: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """A window of one level, in its pixels."""
        width, height = self.sizes[level]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size[0], width), min(top + size[1], height)
        if x0 >= x1 or y0 >= y1:
            raise ValueError("it lies outside the slide")
        found = self._inside(level, (x0, y0, x1, y1))
        if found.dtype != np.uint8:
            raise ValueError(f"its pixels are {found.dtype}; 8-bit ones are expected")
        if found.ndim == 3 and found.shape[2] == 1:
            found = found[..., 0]
        found = found[..., :3] if found.ndim == 3 else found
        whole = np.full((size[1], size[0], *found.shape[2:]), 255, np.uint8)
        whole[y0 - top : y1 - top, x0 - left : x1 - left] = found
        return whole

    def _inside(self, level: int, box: tuple[int, int, int, int]) -> npt.NDArray[Any]:
        x0, y0, x1, y1 = box
        if self._by_openslide:
            openslide = need("openslide", f"reading {self.path.name}")
            with openslide.OpenSlide(str(self.path)) as slide:
                ratio = slide.level_downsamples[level]
                window = slide.read_region((round(x0 * ratio), round(y0 * ratio)), level, (x1 - x0, y1 - y0))
                return np.asarray(_on_white(np.asarray(window)))
        tifffile, zarr = need("tifffile", "reading slides"), need("zarr", "reading regions of TIFF slides")
        with tifffile.TiffFile(str(self.path)) as file:
            array = zarr.open(file.series[0].aszarr(level=level), mode="r")
            return np.asarray(array[y0:y1, x0:x1])


def _on_white(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) → (H, W, 3): where the scanner saw nothing, alpha is 0 and the slide white."""
    return np.where(rgba[..., 3:] == 0, np.uint8(255), rgba[..., :3])
