"""From the values and colours in label files of official data sets to masks; faults named with their pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetseg.data.label_tables import UNKNOWN
from fleetseg.errors import DataError, ImageError
from fleetseg.image import read_image
from fleetseg.labels import IGNORE_INDEX, Colour, LabelSet

#: Pillow's names of files with one channel, by what can be in them.
_EIGHT_BITS = ("L", "P", "1")
_SIXTEEN_BITS = ("I;16", "I;16B", "I")

_MODES = {
    "1": "1-bit",
    "L": "8-bit grey",
    "P": "8-bit palette",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "16- or 32-bit grey",
    "F": "floating-point",
    "LA": "grey with alpha",
    "RGB": "RGB colour",
    "RGBA": "RGB colour with alpha",
}


def read_ids(path: Path, expected: str, bits: int = 8) -> npt.NDArray[np.integer]:
    """(H, W) values of a one-channel file, uint8 or (`bits` = 16) int32, exactly as stored.

    `expected` says what the official layout has there, as "Cityscapes' labelIds are 8-bit grey ids". Raises
    `DataError` for a missing file and one of another depth, `ImageError` for a broken one.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in (_EIGHT_BITS if bits == 8 else _SIXTEEN_BITS):
                raise DataError(f"{path}: the label is stored as {_MODES.get(file.mode, file.mode)}; {expected}")
            return np.array(file, dtype=np.uint8 if bits == 8 else np.int32)
    except FileNotFoundError:
        raise DataError(f"{path}: the label file is missing; {expected}") from None
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like, decompression bombs a class of their own
        raise ImageError(f"{path}: the label cannot be read ({error}); {expected}") from error


def classes_of_ids(
    values: npt.NDArray[np.integer], table: npt.NDArray[np.int16], path: Path | str, expected: str
) -> npt.NDArray[np.uint8]:
    """(H, W) values of a file → mask by a look-up table; `DataError` names the first unknown value's pixel."""
    if values.dtype != np.uint8:
        _check_range(values, len(table), path, expected)
    ids = table[values]
    if (ids == UNKNOWN).any():
        row, column = np.argwhere(ids == UNKNOWN)[0]
        raise DataError(
            f"{path}: the value {values[row, column]} at row {row}, column {column} is no label; {expected}"
        )
    return np.asarray(ids, np.uint8)


def _check_range(values: npt.NDArray[np.integer], size: int, path: Path | str, expected: str) -> None:
    outside = (values < 0) | (values >= size)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise DataError(
            f"{path}: the value {values[row, column]} at row {row}, column {column} is no label; {expected}"
        )


def read_colours(path: Path, colours: Mapping[Colour, int], expected: str) -> npt.NDArray[np.uint8]:
    """(H, W) class ids of an RGB-coded label; `DataError` names the first unknown colour and its pixel."""
    if not path.is_file():
        raise DataError(f"{path}: the label file is missing; {expected}")
    return classes_of_colours(read_image(path), colours, path, expected)


def classes_of_colours(
    image: npt.NDArray[np.uint8], colours: Mapping[Colour, int], path: Path | str, expected: str
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB → (H, W) class ids by colour; see `read_colours`."""
    known = sorted((packed(colour), class_id) for colour, class_id in colours.items())
    codes = np.array([code for code, _ in known], np.uint32)
    ids = np.array([class_id for _, class_id in known], np.uint8)
    values = packed_image(image)
    places = np.minimum(np.searchsorted(codes, values), len(codes) - 1)
    wrong = codes[places] != values
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}: the colour {tuple(image[row, column].tolist())} at row {row}, column {column} belongs to no "
            f"class; {expected}"
        )
    return np.asarray(ids[places], np.uint8)


def packed(colour: Colour) -> int:
    """One number for an RGB colour: red + 256 × green + 65536 × blue, as COCO's panoptic ids."""
    return colour[0] + 256 * colour[1] + 65536 * colour[2]


def packed_image(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """(H, W, 3) uint8 → (H, W) uint32, `packed` for each pixel."""
    wide = image.astype(np.uint32)
    return np.asarray(wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2], np.uint32)


def palette_colours(labels: LabelSet) -> dict[Colour, int]:
    """Colour → class id of a palette; black means unlabelled unless a class has it."""
    colours: dict[Colour, int] = {(0, 0, 0): IGNORE_INDEX}
    return colours | {colour: class_id for class_id, colour in enumerate(labels.palette)}
