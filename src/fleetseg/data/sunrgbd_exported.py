"""SUN RGB-D's 37 classes exported to PNG files, in the two layouts that are passed around.

    ROOT/SUNRGBD-train_images/img-000001.jpg … 005285     (A. Handa's sunrgbd-meta-data)
    ROOT/SUNRGBD-test_images/img-000001.jpg … 005050
    ROOT/sunrgbd_train_test_labels/img-000001.png …       test 1–5050, then train 5051–10335

    ROOT/image/train/img-000001.jpg                       (C. Choy's SUN_RGBD)
    ROOT/label37/train/img37labels-000001.png

Labels are 8-bit: 0 unlabelled, 1–37.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.file_dataset import FileDataset, Found, Item, paired_found
from fleetseg.data.label_files import classes_of_ids, read_ids
from fleetseg.data.label_tables import shifted_table, sunrgbd_classes
from fleetseg.errors import DataError

_LABELS = "sunrgbd_train_test_labels"
#: Labels of training images are numbered on from the test images.
_TEST_IMAGES = 5050

_EXPECTED = "exported labels of SUN RGB-D are 8-bit grey with 0 to 37"


class SunRgbdExported(FileDataset):
    """One split of the exported files."""

    format = "sunrgbd-exported"
    labels = sunrgbd_classes()

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Either layout's labels."""
        return (root / _LABELS).is_dir() or (root / "label37").is_dir()

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:  # noqa: ARG003 - whatever the folder holds
        """The official halves."""
        return ("train", "test")

    def find(self) -> Found:
        """Images of the split, sorted by number."""
        images = self.root / "image" / self.split
        if not (self.root / "label37").is_dir():
            images = self.root / f"SUNRGBD-{self.split}_images"
        if not images.is_dir():
            raise DataError(f"{images} is missing: the exported SUN RGB-D has the images of {self.split} there")
        files = sorted(images.glob("img-*.jpg"))
        return paired_found((image, self._label(image), image.stem) for image in files)

    def _label(self, image: Path) -> Path:
        digits = image.stem.removeprefix("img-")
        if (self.root / "label37").is_dir():
            return self.root / "label37" / self.split / f"img37labels-{digits}.png"
        if not digits.isdigit():
            raise DataError(f"{image}: exported images of SUN RGB-D are called img-000001.jpg and so on")
        number = int(digits) + (_TEST_IMAGES if self.split == "train" else 0)
        return self.root / _LABELS / f"img-{number:06d}.png"

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """37 classes and 255."""
        assert item.label is not None
        return classes_of_ids(read_ids(item.label, _EXPECTED), shifted_table(37), item.label, _EXPECTED)
