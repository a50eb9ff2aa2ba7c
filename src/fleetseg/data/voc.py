"""PASCAL VOC 2012 as downloaded, and the images that are usually trained on with it.

    ROOT/ImageSets/Segmentation/train.txt        names: 1,464; val 1,449; test 1,456
    ROOT/JPEGImages/2007_000032.jpg
    ROOT/SegmentationClass/2007_000032.png       8-bit palette: 0–20, 255 = border

ROOT is ``VOC2012``, or ``VOCdevkit`` above it. Beside either may lie

    SBD, or benchmark_RELEASE/dataset:   img/NAME.jpg, cls/NAME.mat, train.txt, val.txt (Hariharan et al., 2011)
    coco:                                annotations/instances_train2017.json, train2017/*.jpg

``trainaug`` is VOC's train and all of SBD without VOC's val (10,582 images; VOC's own masks where there are any);
``sbd`` is what SBD adds; ``coco`` are the COCO images with any of the 20 classes. ``trainaug+coco`` joins.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.coco_for_voc import coco_found, coco_mask
from fleetseg.data.file_dataset import FileDataset, Found, Item, paired_found, text_lines
from fleetseg.data.label_files import classes_of_ids, read_ids
from fleetseg.data.label_tables import named_classes, table_of
from fleetseg.data.matlab_files import field, load_mat
from fleetseg.errors import DataError
from fleetseg.labels import IGNORE_INDEX

_LISTS = Path("ImageSets", "Segmentation")
_EXPECTED = "PASCAL VOC's SegmentationClass/*.png are 8-bit palette images with 0 to 20, and 255 at borders"
_EXPECTED_SBD = "SBD's cls/*.mat hold a struct 'GTcls' whose 'Segmentation' is an array of 0 to 20"
_NAMES = "one image name a line is expected"
_ARCHIVE = "VOCtrainval_11-May-2012.tar"
_TEST_ARCHIVE = "VOC2012test.tar"
_SBD = "SBD (benchmark_RELEASE)"
_SBD_PLACES = ("SBD", "sbd", "benchmark_RELEASE/dataset", "benchmark_RELEASE")
_COCO_PLACES = ("coco", "COCO")


class PascalVoc(FileDataset):
    """One split."""

    format = "voc"
    labels = named_classes("voc")

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The lists for segmentation are there."""
        return (_voc(root) / _LISTS).is_dir() or (_voc(root) / "SegmentationClass").is_dir()

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """One a list file, and the additions that lie beside."""
        lists = sorted(path.stem for path in (_voc(root) / _LISTS).glob("*.txt"))
        sbd = ["trainaug", "sbd"] if _beside(root, _SBD_PLACES) and "trainaug" not in lists else []
        return (*lists, *sbd, *(["coco"] if _beside(root, _COCO_PLACES) else []))

    def missing_download(self) -> str | None:
        """Of the lists and of the additions."""
        lists = _voc(self.root) / _LISTS
        if not lists.is_dir():
            return f"{lists} is missing: the lists of the splits come with {_ARCHIVE}"
        additions = {"trainaug": (_SBD_PLACES, _SBD), "sbd": (_SBD_PLACES, _SBD), "coco": (_COCO_PLACES, "MS COCO")}
        return _absent(self.root, *additions[self.split]) if self.split in additions else None

    def find(self) -> Found:
        """The listed images, in the lists' order."""
        if self.split == "coco":
            return coco_found(_needed(self.root, _COCO_PLACES, "MS COCO"), self.labels)
        voc, unlabelled = _voc(self.root), self.split == "test"  # its labels are the server's
        for name in ("JPEGImages",) if unlabelled else ("JPEGImages", "SegmentationClass"):
            if not (voc / name).is_dir():
                raise DataError(f"{voc / name} is missing: it comes with {_TEST_ARCHIVE if unlabelled else _ARCHIVE}")
        names = self._names_in("train" if self.split in ("trainaug", "sbd") else self.split)
        images = [voc / "JPEGImages" / f"{name}.jpg" for name in names]
        if unlabelled:
            return paired_found((image, None, image.stem) for image in images)
        own = [(image, voc / "SegmentationClass" / f"{image.stem}.png", image.stem) for image in images]
        if self.split in ("trainaug", "sbd") and not (voc / _LISTS / f"{self.split}.txt").is_file():
            own = (own if self.split == "trainaug" else []) + self._sbd(set(names))
        return paired_found(own)

    def _names_in(self, split: str) -> list[str]:
        return text_lines(_voc(self.root) / _LISTS / f"{split}.txt", _NAMES)

    def _sbd(self, train: set[str]) -> list[tuple[Path, Path, str]]:
        """What SBD adds: neither in VOC's train, which has better masks, nor in its val, which measures."""
        sbd = _needed(self.root, _SBD_PLACES, _SBD)
        names = {name for split in ("train", "val") for name in text_lines(sbd / f"{split}.txt", _NAMES)}
        added = sorted(names - train - set(self._names_in("val")))
        return [(sbd / "img" / f"{name}.jpg", sbd / "cls" / f"{name}.mat", name) for name in added]

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """21 classes, background among them, and 255."""
        if item.annotation is not None:
            return coco_mask(item.annotation)
        assert item.label is not None
        table = table_of({value: value for value in range(self.labels.num_classes)} | {255: IGNORE_INDEX})
        if item.label.suffix != ".mat":
            return classes_of_ids(read_ids(item.label, _EXPECTED), table, item.label, _EXPECTED)
        struct = load_mat(item.label, "GTcls", _EXPECTED_SBD)
        values = np.asarray(field(struct, "Segmentation", item.label, _EXPECTED_SBD))
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"{item.label}: 'Segmentation' is {values.dtype} of shape {values.shape}; {_EXPECTED_SBD}")
        return classes_of_ids(values.astype(np.int32), table, item.label, _EXPECTED_SBD)


def _voc(root: Path) -> Path:
    """``VOC2012`` itself, also below the devkit's folder or what unpacking the archive leaves."""
    for below in ("", "VOC2012", "VOCdevkit/VOC2012"):
        if (root / below / _LISTS).is_dir() or (root / below / "SegmentationClass").is_dir():
            return root / below
    return root


def _beside(root: Path, places: tuple[str, ...]) -> Path | None:
    """The first of `places` in the folder given, in VOC2012, or in the two above it."""
    voc = _voc(root).resolve()
    for folder in dict.fromkeys((root, voc, voc.parent, voc.parent.parent)):
        for place in places:
            if (folder / place).is_dir():
                return folder / place
    return None


def _needed(root: Path, places: tuple[str, ...], what: str) -> Path:
    found = _beside(root, places)
    if found is None:
        raise DataError(_absent(root, places, what))
    return found


def _absent(root: Path, places: tuple[str, ...], what: str) -> str:
    return f"{root / places[0]} is missing: {what} is expected there or beside VOCdevkit"
