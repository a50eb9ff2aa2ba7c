"""Reading list files (an image and its label a line) and the pair of files that a line names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetseg.data.label_files import palette_colours, read_colours
from fleetseg.data.label_values import Classes
from fleetseg.data.pairing import list_file_splits
from fleetseg.errors import DataError, ImageError, UsageError
from fleetseg.image import read_image
from fleetseg.labels import IGNORE_INDEX


def read_list_file(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Image and label paths of `root`/`split`.txt, in its order.

    Paths are relative to `root`. Upstream's CamVid lists hold absolute ones (``/SegNet/CamVid/train/…``): whatever
    stands before a part called ``CamVid`` is dropped.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such data folder")
    list_file = root / f"{split}.txt"
    if not list_file.is_file():
        known = ", ".join(list_file_splits(root)) or "none"
        raise UsageError(f"{root}: there is no split '{split}' ({list_file.name} is missing); splits here: {known}")
    try:
        lines = list_file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(
            f"{list_file}: not a text file in UTF-8; an image and a label path a line are expected"
        ) from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise DataError(f"{list_file}, line {number}: '{line}' should be an image and a label path")
        pairs.append((_resolve(root, words[0]), _resolve(root, words[1])))
    if not pairs:
        raise DataError(f"{list_file}: names no images")
    return pairs


def _resolve(root: Path, word: str) -> Path:
    _, found, after = word.rpartition("CamVid/")
    return root / (after if found else word.lstrip("/"))


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 class indices exactly as stored, from a grey or palette image; RGB is an error."""
    try:
        with Image.open(path) as file:
            if file.mode not in ("L", "P", "1"):
                raise DataError(
                    f"{path}: the label is stored as {file.mode}; class indices in one 8-bit channel are expected"
                )
            return np.array(file, dtype=np.uint8)  # a 1-bit label gives 0 and 1
    except FileNotFoundError:
        raise DataError(f"{path}: the label file is missing") from None
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like, decompression bombs a class of their own
        raise ImageError(f"{path}: the label cannot be read ({error})") from error


def read_label_values(path: Path, classes: Classes) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 as `read_mask`; an RGB label too where the classes have chosen colours, black being unlabelled."""
    if classes.coloured and _is_rgb(path):
        expected = "the colours in classes.yaml, and black for unlabelled pixels, are expected"
        ids = read_colours(path, palette_colours(classes.labels), expected)
        return np.where(ids == IGNORE_INDEX, np.uint8(classes.ignore_index), ids)
    return read_mask(path)


def _is_rgb(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            return file.mode == "RGB"
    except Exception:  # whoever reads it will say what is wrong
        return False


def read_pair(
    image_path: Path, mask_path: Path, classes: Classes | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """(H, W, 3) uint8 RGB image and (H, W) uint8 values as in the file; `DataError` unless both have one size."""
    if not image_path.is_file():
        raise DataError(f"{image_path}: the image file is missing")
    image = read_image(image_path)
    mask = read_label_values(mask_path, classes) if classes else read_mask(mask_path)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{mask_path}: the label is {mask.shape[1]}×{mask.shape[0]} "
            f"but its image {image_path.name} is {image.shape[1]}×{image.shape[0]}"
        )
    return image, mask
