"""Breast-biopsy patches as Y-Net's and ESPNet's authors give them (Mehta et al.; ESPNet, Table 1d): eight labels.

    ROOT/images/SLIDE_CASE_X_Y_SCALE.png     RGB, 384×384
    ROOT/labels/SLIDE_CASE_X_Y_SCALE.png     0–7, in one channel or three equal ones

Patches of one slide overlap, so a division goes by slide. Without folders ``images/train`` and ``images/val`` the
last fifth of the slides is ``val``, the rest ``train``, and ``all`` is both.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.division import divide
from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.label_files import classes_of_ids
from fleetseg.data.label_tables import named_classes, table_of
from fleetseg.data.pairing import pair_by_stem
from fleetseg.errors import DataError
from fleetseg.image import read_image

#: SLIDE_CASE_X_Y_SCALE, as 1222_1_7200_3600_2.
_NAME = re.compile(r"(?P<slide>\d+)_\d+_\d+_\d+_\d+(\.\d+)?")

_EXPECTED = "biopsy labels are 0 to 7, in one 8-bit channel or three equal ones"


class BreastBiopsy(FileDataset):
    """One split of the patches."""

    format = "biopsy"
    labels = named_classes("biopsy")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """images/ and labels/ hold patches named as above and nothing else."""
        if not (root / "labels").is_dir():
            return False
        names = [path.stem for path in (root / "images").rglob("*.png")]
        return bool(names) and all(_NAME.fullmatch(name) for name in names)

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """Folders in images/, or the parts of the division by slide."""
        folders = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
        return tuple(folders) or ("train", "val", "all")

    def find(self) -> Found:
        """Patches sorted by name."""
        inside = (self.root / "images" / self.split).is_dir()
        folder = self.split if inside else ""
        pairing = pair_by_stem(self.root / "images" / folder, self.root / "labels" / folder, inside=False)
        items = [Item(image, label, slide_of(image)) for image, label in pairing.pairs]
        if inside or self.split == "all":
            return Found(tuple(items), pairing.faults)
        chosen = divide([item.group for item in items])[self.split]
        faults = pairing.faults if self.split == "train" else ()
        return Found(tuple(items[index] for index in chosen), faults)

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """0 to 7."""
        assert item.label is not None
        pixels = read_image(item.label)
        unequal = (pixels != pixels[..., :1]).any(axis=2)
        if unequal.any():
            row, column = np.argwhere(unequal)[0]
            raise DataError(
                f"{item.label}: the colour {tuple(pixels[row, column].tolist())} at row {row}, column {column} is no "
                f"label; {_EXPECTED}"
            )
        table = table_of({value: value for value in range(self.labels.num_classes)})
        return classes_of_ids(pixels[..., 0], table, item.label, _EXPECTED)


def slide_of(image: Path) -> str:
    """The number of the slide that a patch was cut from."""
    found = _NAME.fullmatch(image.stem)
    return found["slide"] if found else image.stem
