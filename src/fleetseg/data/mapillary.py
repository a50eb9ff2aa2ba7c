"""Mapillary Vistas 1.2 and 2.0 as downloaded.

    ROOT/config_v1.2.json, config_v2.0.json          labels in the order of their ids (first release: config.json)
    ROOT/training/images/NAME.jpg
    ROOT/training/v1.2/labels/NAME.png               8-bit palette: position in the configuration's list
    ROOT/training/v1.2/instances/NAME.png            16-bit: 256 × label + number
    ROOT/validation/…, ROOT/testing/images/…

Masks hold the release's own labels, 65 (1.2) or 123 (2.0); the list's last one, Unlabeled, is 255. `to_cityscapes`
gives the mapping to Cityscapes' 19 classes. Where both releases are in the folder, ``val`` is release 1.2 and
``val@v2.0`` the other; ``val@cityscapes`` has Cityscapes' classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.file_dataset import FileDataset, Found, Item, paired_found
from fleetseg.data.label_files import classes_of_ids, read_ids
from fleetseg.data.label_tables import mapillary_to_cityscapes, table_of
from fleetseg.errors import DataError
from fleetseg.labels import CITYSCAPES_19, IGNORE_INDEX, label_set

_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}
_CONFIGURATIONS = {"v1.2": "config_v1.2.json", "v2.0": "config_v2.0.json", "": "config.json"}

_INSTANCES = "Mapillary's instances/*.png are 16-bit grey: 256 × label + number"


class Mapillary(FileDataset):
    """One split of one release."""

    format = "mapillary"

    def __init__(self, root: str | Path, split: str, strict: bool = True) -> None:
        self._part, _, self._variant = split.partition("@")
        super().__init__(root, split, strict)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """A configuration file beside one of the splits' folders, or at least a release's labels in one."""
        folders = [root / folder for folder in _FOLDERS.values() if (root / folder / "images").is_dir()]
        configured = any((root / name).is_file() for name in _CONFIGURATIONS.values())
        labelled = any((folder / release / "labels").is_dir() for folder in folders for release in ("v1.2", "v2.0"))
        return bool(folders) and (configured or labelled)

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """train, val and test as far as they are there, each plain, in a release and mapped to Cityscapes."""
        parts = [part for part, folder in _FOLDERS.items() if (root / folder).is_dir()]
        variants = [f"@{release}" for release in _releases(root) if release] + ["@cityscapes"]
        return tuple(part + variant for variant in ("", *variants) for part in parts)

    def find(self) -> Found:
        """All images of the split, sorted."""
        releases = _releases(self.root)
        if not releases:
            raise DataError(f"{self.root}: config_v1.2.json is missing; Mapillary's packages hold it beside training/")
        release = self._variant if self._variant in releases else releases[0]
        configuration = _read_configuration(self.root / _CONFIGURATIONS[release])
        self._expected = (
            f"Mapillary's labels are 8-bit positions 0 to {len(configuration) - 1} in {_CONFIGURATIONS[release]}"
        )
        self._set_classes(configuration, release)
        folder = self.root / _FOLDERS[self._part]
        images = sorted((folder / "images").glob("*.jpg"))
        if self._part == "test":
            return Found(tuple(Item(image, None, image.stem) for image in images))
        labels = folder / release / "labels"
        if not labels.is_dir():
            raise DataError(f"{labels} is missing: Mapillary's package has the labels of {self.split} there")
        return paired_found((image, labels / f"{image.stem}.png", image.stem) for image in images)

    def _set_classes(self, configuration: list[dict[str, Any]], release: str) -> None:
        names = [str(entry["name"]) for entry in configuration]
        #: Position in the list → whether the label is drawn object by object.
        self._counted = np.array([bool(entry.get("instances")) for entry in configuration], bool)
        if self._variant == "cityscapes":
            self.labels = CITYSCAPES_19
            train_ids = to_cityscapes(names, release)
            self._table = table_of(dict(enumerate(train_ids)))
            return
        self.labels = label_set(names[:-1], [entry["color"] for entry in configuration[:-1]])
        self._table = table_of({position: position for position in range(len(names) - 1)})
        self._table[len(names) - 1] = IGNORE_INDEX

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """Label positions, or train ids where the split asks for them, and 255."""
        assert item.label is not None
        return classes_of_ids(read_ids(item.label, self._expected), self._table, item.label, self._expected)

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """(H, W) int32: 1 + 256 × label + number for the labels that are drawn object by object, 0 elsewhere."""
        label = self.items[index].label
        if label is None:
            raise DataError(f"{self.items[index].image}: the test images have no instances; use val")
        path = label.parent.parent / "instances" / label.name
        values = read_ids(path, _INSTANCES, bits=16)
        if int(values.max(initial=0)) // 256 >= len(self._counted):
            raise DataError(f"{path}: the label {int(values.max()) // 256} is not in the configuration; {_INSTANCES}")
        return np.where(self._counted[values // 256], values + 1, 0).astype(np.int32)


def to_cityscapes(names: list[str], release: str) -> list[int]:
    """Cityscapes' train id (255 for none) of Mapillary's label names, by position.

    `DataError` for a label that neither release has: its configuration is of an unknown release.
    """
    ids = mapillary_to_cityscapes(release if release == "v2.0" else "v1.2")
    # The configurations name labels by path (animal--bird) with readable names beside; Unlabeled is void--unlabeled.
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise DataError(
            f"the label '{unknown[0]}' of Mapillary's configuration is in neither release 1.2 nor 2.0, so it has no "
            f"place among Cityscapes' classes"
        )
    return [ids[name] for name in names]


def _releases(root: Path) -> list[str]:
    return [release for release, name in _CONFIGURATIONS.items() if (root / name).is_file()]


def _read_configuration(path: Path) -> list[dict[str, Any]]:
    """The entries of ``labels``: name, colour, whether instances are drawn."""
    expected = "Mapillary's configuration holds a list 'labels' with name, readable, color and instances of each"
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        entries = [dict(entry) for entry in labels]
        names = [entry["name"] for entry in entries]
        if not names or any(len(entry["color"]) != 3 for entry in entries):
            raise ValueError("a label without a colour of three values")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: it cannot be used ({type(error).__name__}: {error}); {expected}") from error
    return entries
