"""Images as arrays: reading any common file, resizing, writing PNG.

Everywhere in fleetseg an image is (H, W, 3) uint8 RGB, a mask is (H, W) uint8 class ids and a size is
(width, height).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import (  # the plug-ins: when formats are named, Pillow knows only those that are imported
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from fleetseg.atomic import replacing
from fleetseg.available_memory import available_memory
from fleetseg.errors import ImageError, ImageTooLargeError, UsageError
from fleetseg.labels import LabelSet
from fleetseg.overlay import overlay, with_legend
from fleetseg.refused_formats import why_unreadable

__all__ = [
    "IMAGE_SUFFIXES",
    "decode_image",
    "foreign_profile",
    "image_header",
    "max_pixels",
    "overlay",
    "read_image",
    "resize_image",
    "resize_logits",
    "resize_mask",
    "with_legend",
    "write_mask",
    "write_png",
]

#: Suffixes that a folder is searched for (lower case).
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"})

#: Decoders that may run; Pillow has others that start programs (EPS) or follow references.
_FORMATS = (
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    GifImagePlugin.GifImageFile.format,
)

#: Memory that a pixel takes at most between an image file and its mask and overlay (bytes): the decoded file,
#: the RGB copy, float32 planes of logits, mask, confidence, overlay. Measured at 4000×3000: 30.
BYTES_PER_PIXEL = 36

#: How a JPEG file begins, and each of its scans. A progressive image has about ten; every scan costs a pass over all
#: pixels but only a few bytes, so a small file of thousands would keep a processor busy for minutes.
JPEG_START, JPEG_SCAN, MOST_SCANS = b"\xff\xd8", b"\xff\xda", 100

_pillow_lock = threading.Lock()


def max_pixels() -> int:
    """How many pixels an image may have with the memory that is free now."""
    return available_memory() // BYTES_PER_PIXEL


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Decode a PNG, JPEG, TIFF, WebP, BMP or GIF file into (H, W, 3) uint8 RGB, upright.

    Grey becomes three equal channels, alpha is dropped, 16 bits become the upper 8, a palette is looked up, colours
    of another ICC profile become sRGB, EXIF orientation is applied, and of several frames the first is taken. Raises
    `ImageError` for a file that is missing, no image, broken, larger than memory allows, or of 32-bit samples, whose
    range nobody knows.
    """
    with _stream(Path(path)) as stream:
        return _decode(stream, str(path))


class ImageHeader(NamedTuple):
    """What an image file says about itself before its pixels."""

    #: (width, height) as stored.
    size: tuple[int, int]
    #: Whether its last bytes may change its first line, so that it can only be decoded whole.
    only_whole: bool

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.size[0] * self.size[1]


def image_header(path: str | Path) -> ImageHeader:
    """Read a file's header alone; errors as `read_image`, but for broken pixels."""
    with _stream(Path(path)) as stream, _named_failures(str(path)), _open(str(path), stream) as file:
        in_passes = bool(file.info.get("progressive") or file.info.get("interlace"))
        return ImageHeader(file.size, in_passes or file.format in ("WEBP", "GIF"))


def _stream(path: Path) -> BinaryIO:
    if not path.is_file():
        raise ImageError(f"{path}: {'is a folder, not an image' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: is empty")
    try:
        return path.open("rb")
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


def decode_image(content: bytes, name: str = "the image", most_pixels: int | None = None) -> npt.NDArray[np.uint8]:
    """The bytes of an image file → (H, W, 3) uint8 RGB, as `read_image` does; for files that strangers send.

    `name` stands in errors. Raises `ImageTooLargeError`, before anything is decoded, for more than `most_pixels`
    pixels or than memory allows, and `ImageError` as `read_image` or for a JPEG file of absurdly many scans.
    """
    if not content:
        raise ImageError(f"{name}: is empty")
    if content.startswith(JPEG_START) and content.count(JPEG_SCAN) > MOST_SCANS:
        raise ImageError(f"{name}: has more than {MOST_SCANS} JPEG scans, which no camera or program writes")
    return _decode(io.BytesIO(content), name, most_pixels)


def _decode(stream: BinaryIO, name: str, most_pixels: int | None = None) -> npt.NDArray[np.uint8]:
    with _named_failures(name), _open(name, stream) as file:
        _check_pixels(name, *file.size, most_pixels)
        file.load()
        _turn_upright(file)
        return _to_rgb(name, _in_srgb(file))


@contextmanager
def _named_failures(name: str) -> Iterator[None]:
    """Whatever a decoder raises as an `ImageError` that begins with the image's name."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory to decode it") from None
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        raise ImageError(f"{name}: is broken and cannot be decoded ({error})") from error


def _open(name: str, stream: BinaryIO) -> Image.Image:
    with _without_pillows_limit():
        try:
            return Image.open(stream, formats=_FORMATS)
        except UnidentifiedImageError:
            stream.seek(0)
            raise ImageError(f"{name}: {why_unreadable(stream.read(16))}") from None


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's fixed limit while a header is read: ours follows the memory and precedes decoding."""
    with _pillow_lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(name: str, width: int, height: int, most_pixels: int | None) -> None:
    limit, reason = max_pixels(), "the free memory allows"
    if most_pixels is not None and most_pixels < limit:
        limit, reason = most_pixels, "the limit is"
    if width * height > limit:
        raise ImageTooLargeError(
            f"{name}: {width}×{height} is {width * height:,} pixels, but {reason} {limit:,}; make the image smaller"
        )


def _turn_upright(file: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(file, in_place=True)
    except Exception:
        # Damaged EXIF data beside sound pixels: cameras write such files, so the image is taken as it lies.
        return


def _in_srgb(file: Image.Image) -> Image.Image:
    """Colours as its ICC profile means them; a profile that is damaged or of another kind is as good as none."""
    profile = foreign_profile(file.info.get("icc_profile"))
    if profile is None or file.mode not in ("RGB", "RGBA", "CMYK"):
        return file
    try:
        opaque = file.convert("RGB") if file.mode == "RGBA" else file
        converted = ImageCms.profileToProfile(opaque, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return file
    return converted or file


def foreign_profile(content: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """An ICC profile that is sound and not sRGB's."""
    if not content:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        return None if ImageCms.getProfileDescription(profile).startswith("sRGB") else profile
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _to_rgb(name: str, file: Image.Image) -> npt.NDArray[np.uint8]:
    if file.mode.startswith("I;16"):
        grey = (np.asarray(file) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if file.mode in ("I", "F"):
        raise ImageError(f"{name}: has 32-bit samples; convert it to 8 or 16 bits a channel")
    if file.mode in ("P", "PA", "RGBa", "La"):
        file = file.convert("RGBA")
    return np.array(file.convert("RGB"), dtype=np.uint8)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size itself; `UsageError` unless width and height are at least 1."""
    width, height = size
    if width < 1 or height < 1:
        raise UsageError(f"the size {width}×{height} is empty; width and height must be at least 1")
    return width, height


def resize_image(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, C) uint8 → (height, width, C): area averages when it shrinks, bilinear when it grows."""
    width, height = check_size(size)
    if image.shape[:2] == (height, width):
        return image
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV averages areas of at most four channels at once.
    groups = [image[..., first : first + 4] for first in range(0, image.shape[2], 4)]
    resized = [_resized(group, width, height, method) for group in groups]
    return np.asarray(resized[0] if image.shape[2] in (2, 3, 4) else np.dstack(resized), np.uint8)


def resize_mask(mask: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W) class ids → (height, width): each pixel takes the id at its centre."""
    width, height = check_size(size)
    if mask.shape == (height, width):
        return mask
    # Plain INTER_NEAREST looks at the corner and shifts the mask against its image.
    return np.asarray(_resized(mask, width, height, cv2.INTER_NEAREST_EXACT), np.uint8)


def resize_logits(logits: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(C, H, W) float32 → (C, height, width), bilinear as torch's ``align_corners=False``."""
    width, height = check_size(size)
    if logits.shape[1:] == (height, width):
        return logits
    planes = [_resized(plane, width, height, cv2.INTER_LINEAR) for plane in logits]
    return np.stack(planes).astype(np.float32, copy=False)


def _resized(picture: npt.NDArray[Any], width: int, height: int, method: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(cv2.resize(picture, (width, height), interpolation=method))
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise


def write_png(path: str | Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) grey or (H, W, 3) RGB uint8 as PNG, atomically; `OutputError` if that is impossible."""
    _save_png(path, Image.fromarray(np.ascontiguousarray(picture)))


def write_mask(path: str | Path, mask: npt.NDArray[np.uint8], labels: LabelSet) -> None:
    """Write (H, W) class ids as an indexed PNG whose palette shows the classes; reading it gives the ids."""
    file = Image.fromarray(np.ascontiguousarray(mask))
    file.putpalette(labels.colour_table().tobytes())
    _save_png(path, file)


def _save_png(path: str | Path, file: Image.Image) -> None:
    with replacing(path) as temporary:
        file.save(temporary, format="PNG")
