"""Images of any size, read a region at a time, whatever their format.

| file | how it is read |
|---|---|
| scanners' slides (SVS, NDPI, MRXS, …) | in place, by OpenSlide |
| tiled TIFF, BigTIFF, OME-TIFF of 8-bit grey or RGB | in place, by tifffile |
| anything else up to `WHOLE_PIXELS` | whole, as `read_image` does |
| other TIFF, JPEG, PNG, WebP, GIF above that | streamed once by libvips into a tiled copy, which is read in place |
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.streaming import TellShare, tiled_copy
from fleetseg.data.slide_file import SCANNER_SUFFIXES, Regions, SlideFile
from fleetseg.errors import ImageError
from fleetseg.image import image_header, read_image, resize_image
from fleetseg.optional_packages import need

Picture = npt.NDArray[np.uint8]
Size = tuple[int, int]

#: An image of at most so many pixels is decoded whole (96 MB).
WHOLE_PIXELS = 32_000_000
#: A tile of a TIFF may be so large (bytes); reading a pixel means decoding its tile.
_LARGEST_TILE = 2**26

_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: TIFF tags: orientation, ICC profile.
_ORIENTATION, _PROFILE = 274, 34675


class Source(Regions, Protocol):
    """An image that is read a region at a time and may know its scale."""

    @property
    def microns(self) -> tuple[float, float] | None:
        """(width, height) of a pixel in micrometres, where the file says it."""
        ...


class WholeImage:
    """A `Source` in memory."""

    def __init__(self, pixels: Picture) -> None:
        self._pixels = pixels
        self.sizes = ((pixels.shape[1], pixels.shape[0]),)
        self.microns = None

    def region(self, left: int, top: int, size: Size, downsample: float) -> Picture:
        """See `SlideFile.region`; nothing lies beyond the image."""
        wide, high = max(1, round(size[0] * downsample)), max(1, round(size[1] * downsample))
        return resize_image(self._pixels[top : top + high, left : left + wide], size)


def in_colour(pixels: Picture) -> Picture:
    """(H, W) or (H, W, 3) → (H, W, 3)."""
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


#: Is open while an image is copied; what it gives is told the share that is done.
Copying = Callable[[], AbstractContextManager[TellShare]]


def silently() -> AbstractContextManager[TellShare]:
    """A `Copying` that tells nobody."""
    return nullcontext(lambda _share: None)


def open_source(path: Path, work: Path, copying: Copying = silently) -> Source:
    """An image by its file; a copy, if one is needed, goes to the folder `work` and is found there again.

    `ImageError` for a file that is missing, broken or of pixels that no network sees; `MissingExtraError` without the
    package that reads it; `OutputError` if the copy cannot be written.
    """
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not an image' if path.is_dir() else 'no such file'}")
    if path.suffix.lower() in SCANNER_SUFFIXES:
        return SlideFile(path)
    if _is_tiff(path) and _readable_in_place(path):
        return SlideFile(path)
    if image_header(path).pixels <= WHOLE_PIXELS:
        return WholeImage(read_image(path))
    copy = work / "copy.tif"
    if not copy.exists():
        with copying() as tell_share:
            tiled_copy(path, copy, tell_share)
    return SlideFile(copy)


def needs_windows(path: Path, most_pixels: int) -> bool:
    """Whether a file is a slide or an image of more than `most_pixels`; False also for what cannot be read."""
    if path.suffix.lower() in SCANNER_SUFFIXES:
        return True
    try:
        return image_header(path).pixels > most_pixels
    except ImageError:
        # Formats within TIFF that Pillow does not know; the file tells its size all the same.
        return _is_tiff(path) and _is_large_tiff(path, most_pixels)


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF_BEGINNINGS
    except OSError:
        return False


def _is_large_tiff(path: Path, most_pixels: int) -> bool:
    try:
        width, height = SlideFile(path).sizes[0]
    except (ImageError, ValueError):
        return False
    return width * height > most_pixels


def _readable_in_place(path: Path) -> bool:
    """Whether windows of a TIFF can be read as they are: tiled, 8-bit grey or RGB, upright.

    `ImageError` for several channels that are no colours: of those every reader would take some.
    """
    try:
        with need("tifffile", f"reading {path.name}").TiffFile(str(path)) as file:
            series = file.series[0]
            _check_channels(path, series)
            _check_length(path, series.keyframe)
            return _is_plain(series)
    except ImageError:
        raise
    except Exception as error:  # its reader of many formats raises what it likes
        raise ImageError(f"{path}: is broken and cannot be read as TIFF ({error})") from error


def _check_channels(path: Path, series: Any) -> None:
    if "C" in series.axes:
        channels = series.shape[series.axes.index("C")]
        raise ImageError(f"{path}: has {channels} channels in planes of their own ({series.axes}); save it as RGB")


def _check_length(path: Path, page: Any) -> None:
    """Readers fill what lies beyond the file's end with something, or stop there hours later."""
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
    if max(ends, default=0) > path.stat().st_size:
        raise ImageError(f"{path}: is broken: it ends before its pixels do")


def _is_plain(series: Any) -> bool:
    page = series.keyframe
    # A pyramid is a slide, whose pixels are taken as they were scanned, in training too.
    as_stored = len(series.levels) > 1 or _PROFILE not in page.tags
    upright = _ORIENTATION not in page.tags or page.tags[_ORIENTATION].value == 1
    return bool(
        page.is_tiled
        and page.tilewidth * page.tilelength * page.samplesperpixel <= _LARGEST_TILE
        and series.axes in ("YX", "YXS")
        and page.dtype == np.uint8
        and page.bitspersample == 8
        and page.samplesperpixel in (1, 3, 4)
        and page.photometric.name in ("MINISBLACK", "RGB", "YCBCR")
        and as_stored
        and upright
    )
