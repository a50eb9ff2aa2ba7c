"""From the values in a label file to a mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.errors import DataError
from fleetseg.labels import IGNORE_INDEX, LabelSet

#: Formats that change the values of pixels.
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})


@dataclass(frozen=True)
class Classes:
    """Classes of a data set and the value that marks unlabelled pixels in its files."""

    labels: LabelSet
    ignore_index: int = IGNORE_INDEX
    #: Whether somebody chose the palette, so that RGB labels in its colours can be read.
    coloured: bool = False

    @property
    def expected_values(self) -> str:
        """What a label file may hold, in words."""
        last = self.labels.num_classes - 1
        return f"0 to {last}, and {self.ignore_index} for unlabelled pixels, are expected"


def check_label_format(path: Path) -> None:
    """Raise `DataError` for a file whose format does not keep class ids."""
    if path.suffix.lower() in LOSSY_SUFFIXES:
        raise DataError(f"{path}: a JPEG does not keep class ids; a label should be a PNG file")


def values_outside(values: npt.NDArray[np.uint8], classes: Classes) -> npt.NDArray[np.bool_]:
    """(H, W) uint8 as in the file → (H, W) bool: neither a class id nor the unlabelled value."""
    outside: npt.NDArray[np.bool_] = (values >= classes.labels.num_classes) & (values != classes.ignore_index)
    return outside


def mask_of_label(values: npt.NDArray[np.uint8], classes: Classes, path: Path) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 as in the file → mask with 255 for unlabelled; `DataError` for a value without a class."""
    outside = values_outside(values, classes)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise DataError(
            f"{path}: the value {values[row, column]} at row {row}, column {column} is no class; "
            f"{classes.expected_values}"
        )
    if classes.ignore_index == IGNORE_INDEX:
        return values
    return np.where(values == classes.ignore_index, np.uint8(IGNORE_INDEX), values)
