"""CamVid as Cambridge released it: 701 frames of 960×720, labels in 32 colours.

    ROOT/701_StillsRaw_full/0001TP_006690.png       RGB frames
    ROOT/LabeledApproved_full/0001TP_006690_L.png   RGB labels
    ROOT/label_colors.txt                           red, green, blue and name a line

``train``, ``val`` and ``test`` are SegNet's (367, 101 and 233 frames) with its 11 classes, ``all`` is every frame;
``train@32`` and so on keep the 32 labels, of which Void is 255.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.camvid_download import SPLITS, camvid_checksums
from fleetseg.data.file_dataset import FileDataset, Found, Item, paired_found, text_lines
from fleetseg.data.label_files import read_colours
from fleetseg.data.label_tables import colour as colour_of
from fleetseg.data.label_tables import rows
from fleetseg.errors import DataError
from fleetseg.labels import CAMVID_11, IGNORE_INDEX, Colour, LabelSet, label_set

_LABELS = "LabeledApproved_full"
_COLOUR_FILE = "label_colors.txt"
#: The archives are unpacked into folders of various names.
_IMAGE_FOLDERS = ("701_StillsRaw_full", "701_StillsRaw", "images")

_EXPECTED = f"CamVid's *_L.png hold the 32 colours of {_COLOUR_FILE}"


class CamVidOriginal(FileDataset):
    """One split of the released frames."""

    format = "camvid-original"

    def __init__(self, root: str | Path, split: str, strict: bool = True) -> None:
        self._part, _, variant = split.partition("@")
        self.labels = camvid_32() if variant == "32" else CAMVID_11
        super().__init__(root, split, strict)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The folder of labels is there."""
        return (root / _LABELS).is_dir()

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:  # noqa: ARG003 - whatever the folder holds
        """SegNet's three and all, with 11 classes or 32."""
        return tuple(name + variant for variant in ("", "@32") for name in (*SPLITS, "all"))

    def find(self) -> Found:
        """The frames of the split, sorted by name."""
        folders = [self.root / name for name in _IMAGE_FOLDERS if (self.root / name).is_dir()]
        if not folders:
            raise DataError(
                f"{self.root / _IMAGE_FOLDERS[0]} is missing: CamVid's 701_StillsRaw_full.zip has the frames"
            )
        images = sorted(path for path in folders[0].rglob("*.png") if self._belongs(path.stem))
        return paired_found((image, self.root / _LABELS / f"{image.stem}_L.png", sequence(image)) for image in images)

    def _belongs(self, stem: str) -> bool:
        return self._part == "all" or f"{self._part}/{stem}.png" in camvid_checksums()

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """11 or 32 classes and 255."""
        assert item.label is not None
        return read_colours(item.label, self._classes_of_colours, _EXPECTED)

    @cached_property
    def _classes_of_colours(self) -> dict[Colour, int]:
        """By the names in the set's own colour file, where it is there."""
        numbers = {name: number for number, name in enumerate(self.labels.names)}
        eleven = self.labels is CAMVID_11
        classes = {row["name"]: row["class_name"] if eleven else row["name"] for row in rows("camvid_32")}
        return {
            colour: numbers.get(classes[name], IGNORE_INDEX) for name, colour in _released_colours(self.root).items()
        }


def camvid_32() -> LabelSet:
    """The release's labels by name, without Void: 31."""
    table = [row for row in rows("camvid_32") if row["name"] != "Void"]
    return label_set([row["name"] for row in table], [colour_of(row) for row in table])


def sequence(image: Path) -> str:
    """The sequence that a frame was cut from: 0001TP of 0001TP_006690."""
    return image.stem.partition("_")[0]


def _released_colours(root: Path) -> dict[str, Colour]:
    """Label name → colour, of ``label_colors.txt`` or, without it, the package's."""
    known = {row["name"]: colour_of(row) for row in rows("camvid_32")}
    path = root / _COLOUR_FILE
    if not path.is_file():
        return known
    expected = "red, green, blue and a label's name a line are expected"
    found: dict[str, Colour] = {}
    for line in text_lines(path, expected):
        words = line.split()
        if (
            len(words) != 4
            or not all(word.isdigit() and int(word) < 256 for word in words[:3])
            or words[3] not in known
        ):
            raise DataError(f"{path}: '{line}' is no label of CamVid; {expected}")
        found[words[3]] = (int(words[0]), int(words[1]), int(words[2]))
    return found
