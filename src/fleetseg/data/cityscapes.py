"""Cityscapes as downloaded: ``leftImg8bit_trainvaltest.zip``, ``gtFine_trainvaltest.zip`` and the coarse packages.

    ROOT/leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png        RGB, 2048×1024
    ROOT/gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png         8-bit ids 0–33
    ROOT/gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_instanceIds.png      16-bit: id, or 1000 × id + number
    ROOT/gtCoarse/train_extra/…_gtCoarse_labelIds.png                      the same, coarse

Masks hold the 19 train ids; every other id is 255. ``train``, ``val`` and ``test`` are fine; ``train_extra``,
``train_coarse`` and ``val_coarse`` coarse.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.label_files import classes_of_ids, read_ids
from fleetseg.data.label_tables import cityscapes_table
from fleetseg.data.pairing import Fault
from fleetseg.errors import DataError
from fleetseg.labels import CITYSCAPES_19

#: Split → folder of images and labels, package of labels.
_PLACES = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", "gtFine"),
    "train_extra": ("train_extra", "gtCoarse"),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
}

#: Package → its file.
_ARCHIVES = {
    "leftImg8bit": "leftImg8bit_trainvaltest.zip",
    "leftImg8bit_trainextra": "leftImg8bit_trainextra.zip",
    "gtFine": "gtFine_trainvaltest.zip",
    "gtCoarse": "gtCoarse.zip",
}

_LABELS = "Cityscapes' *_labelIds.png are 8-bit grey with the ids 0 to 33"
_INSTANCES = "Cityscapes' *_instanceIds.png are 16-bit grey: an id, or 1000 × id + number"

#: From this value on, a pixel of instanceIds belongs to a single object.
_FIRST_INSTANCE = 1000


class Cityscapes(FileDataset):
    """One split in the official layout."""

    format = "cityscapes"
    labels = CITYSCAPES_19

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Any of the packages' folders is there."""
        return any((root / name).is_dir() for name in ("leftImg8bit", "gtFine", "gtCoarse"))

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """Those whose images or labels are there; the fine ones if none is."""
        there = (
            split
            for split, (folder, package) in _PLACES.items()
            if (root / package / folder).is_dir() or (package == "gtFine" and (root / "leftImg8bit" / folder).is_dir())
        )
        return tuple(there) or ("train", "val", "test")

    def missing_download(self) -> str | None:
        """Of the images, then of the labels."""
        if self.split not in _PLACES:
            return None
        folder, package = _PLACES[self.split]
        pictures = "leftImg8bit_trainextra" if folder == "train_extra" else "leftImg8bit"
        needed = [("images", self.root / "leftImg8bit" / folder, pictures)]
        if folder != "test":  # its labels are blank: the server keeps the real ones
            needed.append(("labels", self.root / package / folder, package))
        for what, place, archive in needed:
            if not place.is_dir():
                file = _ARCHIVES[archive]
                return f"{place} is missing: the {what} of this split come with Cityscapes' package {file}"
        return None

    def find(self) -> Found:
        """All images of the split's cities, sorted, each with its label."""
        missing = self.missing_download()
        if missing is not None:
            raise DataError(missing)
        folder, package = _PLACES[self.split]
        images = self.root / "leftImg8bit" / folder
        labels = self.root / package / folder
        items, faults = [], []
        for image in sorted(images.glob("*/*_leftImg8bit.png")):
            frame = image.name.removesuffix("_leftImg8bit.png")
            label = labels / image.parent.name / f"{frame}_{package}_labelIds.png"
            group = frame.rpartition("_")[0]
            if label.is_file():
                items.append(Item(image, label, group))
            elif folder == "test":
                items.append(Item(image, None, group))
            else:
                message = f"{image}: this image has no label; {label} is expected"
                faults.append(Fault("image without label", image, message))
        return Found(tuple(items), tuple(faults))

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """19 train ids and 255."""
        assert item.label is not None
        return classes_of_ids(read_ids(item.label, _LABELS), cityscapes_table(), item.label, _LABELS)

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """(H, W) int32: 1000 × id + number of single objects, 0 elsewhere (groups too)."""
        label = self.items[index].label
        if label is None:
            raise DataError(f"{self.items[index].image}: the test images have no instances; use val")
        path = label.with_name(label.name.replace("_labelIds.png", "_instanceIds.png"))
        values = read_ids(path, _INSTANCES, bits=16)
        return np.where(values > _FIRST_INSTANCE, values, 0).astype(np.int32)
