"""SUN RGB-D, 37 classes, as released: ``SUNRGBD.zip`` and ``SUNRGBDtoolbox.zip`` unpacked side by side.

    ROOT/SUNRGBD/SENSOR/…/FRAME/image/FILE.jpg
    ROOT/SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat           MATLAB 5: rgbpath of 10,335 frames
    ROOT/SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat          HDF5: references to labels, transposed, 0 and 1–37
    ROOT/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat      MATLAB 5: alltrain, alltest, trainvalsplit

``train`` (5,285) and ``test`` (5,050) are the official halves; ``train_part`` and ``val`` divide train by the
official ``trainvalsplit``: who measures on ``val`` trains on ``train_part``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.label_files import classes_of_ids
from fleetseg.data.label_tables import shifted_table, sunrgbd_classes
from fleetseg.data.matlab_files import field, load_mat, read_reference
from fleetseg.data.pairing import Fault
from fleetseg.errors import DataError

_TOOLBOX = "SUNRGBDtoolbox"
_SEGMENTATION = "Metadata/SUNRGBD2Dseg.mat"
_META = "Metadata/SUNRGBDMeta.mat"
_SPLIT = "traintestSUNRGBD/allsplit.mat"

_EXPECTED_LABELS = "SUN RGB-D's SUNRGBD2Dseg.mat is HDF5: SUNRGBD2Dseg/seglabel refers to labels 0 to 37"
_EXPECTED_META = "SUN RGB-D's SUNRGBDMeta.mat holds a struct 'SUNRGBDMeta' with rgbpath for each frame"
_EXPECTED_SPLIT = "SUN RGB-D's allsplit.mat holds 'alltrain', 'alltest' and 'trainvalsplit', lists of frame folders"

#: What all paths in the metadata begin with.
_PREFIX = "/n/fs/sun3d/data/"


class SunRgbd(FileDataset):
    """One split in the official layout; labels are read one at a time."""

    format = "sunrgbd"
    labels = sunrgbd_classes()

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The toolbox is there, or the images in their sensors' folders."""
        return (root / _TOOLBOX).is_dir() or (root / "SUNRGBD" / "kv1").is_dir()

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:  # noqa: ARG003 - whatever the folder holds
        """The official ones."""
        return ("train", "test", "train_part", "val")

    def find(self) -> Found:
        """The split's frames in the metadata's order."""
        for folder, archive in ((_TOOLBOX, "SUNRGBDtoolbox.zip"), ("SUNRGBD", "SUNRGBD.zip")):
            if not (self.root / folder).is_dir():
                raise DataError(f"{self.root / folder} is missing: it comes with SUN RGB-D's {archive}")
        toolbox = self.root / _TOOLBOX
        wanted = set(self._frames(toolbox / _SPLIT))
        items, faults = [], []
        for number, place in enumerate(_image_paths(toolbox / _META)):
            frame = frame_folder(place)
            if frame not in wanted:
                continue
            image = self.root / _below_prefix(place)
            if image.is_file():
                items.append(Item(image, toolbox / _SEGMENTATION, _room(frame), number))
            else:
                faults.append(Fault("missing", image, f"{image}: the image file is missing; SUNRGBD.zip has it"))
        return Found(tuple(items), tuple(faults))

    def _frames(self, path: Path) -> Iterable[str]:
        if self.split in ("train", "test"):
            folders = load_mat(path, f"all{self.split}", _EXPECTED_SPLIT)
        else:
            divided = load_mat(path, "trainvalsplit", _EXPECTED_SPLIT)
            folders = field(divided, "train" if self.split == "train_part" else "val", path, _EXPECTED_SPLIT)
        return (_below_prefix(str(folder)) for folder in np.atleast_1d(folders))

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """37 classes and 255."""
        assert item.label is not None
        values = read_reference(item.label, "SUNRGBD2Dseg", "seglabel", item.annotation, _EXPECTED_LABELS)
        where = f"{item.label} (frame {item.annotation + 1}, {item.image.name})"
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
            raise DataError(f"{where}: the label is {values.dtype} of shape {values.shape}; {_EXPECTED_LABELS}")
        return classes_of_ids(values, shifted_table(37), where, _EXPECTED_LABELS)


def _image_paths(path: Path) -> list[str]:
    entries = np.atleast_1d(load_mat(path, "SUNRGBDMeta", _EXPECTED_META))
    return [str(field(entry, "rgbpath", path, _EXPECTED_META)) for entry in entries]


def frame_folder(image: str) -> str:
    """``/n/fs/sun3d/data/SUNRGBD/kv2/…/FRAME/image/FILE.jpg`` → ``SUNRGBD/kv2/…/FRAME``."""
    return str(PurePosixPath(_below_prefix(image)).parent.parent)


def _below_prefix(place: str) -> str:
    """Paths from ``SUNRGBD`` on, whatever stands before and however many slashes there are."""
    tidy = str(PurePosixPath(place.removeprefix(_PREFIX).strip()))
    _, found, after = tidy.partition("SUNRGBD/")
    return f"SUNRGBD/{after}" if found else tidy.lstrip("/")


def _room(frame: str) -> str:
    """What frames of one recording share: their folder's parent."""
    return str(PurePosixPath(frame).parent)
