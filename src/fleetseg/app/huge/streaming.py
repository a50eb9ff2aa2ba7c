"""Large images without tiles: libvips streams them, a few lines at a time, into a tiled copy of 8-bit sRGB."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fleetseg.atomic import replacing
from fleetseg.available_memory import available_memory
from fleetseg.errors import ImageError, ImageTooLargeError, OutputError
from fleetseg.image import foreign_profile, image_header
from fleetseg.optional_packages import need
from fleetseg.runtime.failures import first_line

#: Tiles of the copy.
_TILE = 256
#: Bytes a pixel: of the copy, and in memory where a format can only be decoded whole (a progressive JPEG keeps
#: 16-bit coefficients of three channels).
_ON_DISK, _IN_MEMORY = 3, 6

#: Is called with the share (0–1) that is done, from another thread.
TellShare = Callable[[float], None]

#: Where libvips keeps it.
_ORIENTATION = "orientation"
#: What libvips says when the copy cannot be written, rather than the image read.
_WRITING = ("write", "space", "too large", "quota")


def tiled_copy(path: Path, copy: Path, tell_share: TellShare = lambda _share: None) -> None:
    """Write what `read_image` would give of `path` as a tiled, uncompressed TIFF.

    `ImageError` if the file is broken, has samples of 32 bits or a format that cannot be streamed; `OutputError` if
    the copy does not fit on the disk; `MissingExtraError` without pyvips.
    """
    pyvips = need("pyvips", f"reading {path.name}, whose pixels are too many to be decoded at once", "huge")
    # Nothing is asked for twice, so nothing need be kept.
    pyvips.cache_set_max(0)
    _check_room(path, copy)
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="truncated")
    except pyvips.Error as error:
        raise ImageError(f"{path}: is broken or of a format that cannot be streamed; save it as TIFF") from error
    orientation = int(image.get(_ORIENTATION)) if image.get_typeof(_ORIENTATION) else 1
    upright = orientation == 1
    with replacing(copy) as temporary:
        _save(path, copy, _as_rgb(path, image), temporary, tell_share if upright else lambda half: tell_share(half / 2))
        if not upright:
            # Turning asks for lines in another order, so it needs the tiles that are there now.
            lying = temporary.rename(temporary.with_suffix(".lying.tif"))
            try:
                image = pyvips.Image.new_from_file(str(lying)).copy()
                image.set_type(pyvips.GValue.gint_type, _ORIENTATION, orientation)
                _save(path, copy, image.autorot(), temporary, lambda half: tell_share(0.5 + half / 2))
            finally:
                lying.unlink()


def _check_room(path: Path, copy: Path) -> None:
    header = image_header(path)
    width, height = header.size
    copy.parent.mkdir(parents=True, exist_ok=True)
    needed, free = header.pixels * _ON_DISK, shutil.disk_usage(copy.parent).free
    if needed > free:
        raise OutputError(
            f"{copy.parent}: a tiled copy of {path.name} ({width}×{height}) needs {needed / 1e9:,.1f} GB here, "
            f"of which {free / 1e9:,.1f} are free"
        )
    if header.only_whole and header.pixels * _IN_MEMORY > available_memory():
        raise ImageTooLargeError(
            f"{path}: {width}×{height} is too large for the free memory, since a progressive or interlaced image has "
            f"to be decoded whole; save it otherwise, or as tiled TIFF"
        )


def _as_rgb(path: Path, image: Any) -> Any:
    """Three bands of 8 bits, by the rules of `read_image`."""
    if image.format not in ("uchar", "ushort"):
        raise ImageError(f"{path}: has 32-bit samples; convert it to 8 or 16 bits a channel")
    has_profile = bool(image.get_typeof("icc-profile-data"))
    if has_profile and image.bands >= 3 and foreign_profile(image.get("icc-profile-data")) is not None:
        image = image.icc_transform("srgb", embedded=True)
    elif image.interpretation == "cmyk":
        light = 255 - image.extract_band(3)
        image = ((255 - image.extract_band(0, n=3)) * light / 255).rint().cast("uchar").copy(interpretation="srgb")
    else:
        image = image.colourspace("srgb")
    return image.extract_band(0, n=3) if image.bands > 3 else image


def _save(path: Path, copy: Path, image: Any, target: Path, tell_share: TellShare) -> None:
    import pyvips

    image.set_progress(True)
    image.signal_connect("eval", lambda _image, progress: tell_share(progress.percent / 100))
    options = {"tile": True, "tile_width": _TILE, "tile_height": _TILE, "compression": "none", "bigtiff": True}
    # Ctrl-C reaches Python's main thread, which therefore waits where it can hear it.
    with ThreadPoolExecutor(1, "copying") as pool:
        try:
            pool.submit(image.tiffsave, str(target), keep="none", **options).result()
        except KeyboardInterrupt:
            image.set_kill(True)
            raise
        except pyvips.Error as error:
            reason = first_line(Exception(str(error).partition("\n")[2].strip() or str(error)))
            if any(word in reason.lower() for word in _WRITING):
                raise OutputError(f"{copy}: cannot be written ({reason})") from error
            raise ImageError(f"{path}: is broken and cannot be decoded ({reason})") from error
