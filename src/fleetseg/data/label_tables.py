"""The classes, ids, colours and mappings of the known data sets: CSV files in the folder ``label_maps``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from fleetseg.labels import CITYSCAPES_19, IGNORE_INDEX, Colour, LabelSet, label_set

#: In a look-up table from the values of files to class ids: no such value exists.
UNKNOWN = -1


@cache
def rows(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of ``label_maps/NAME.csv`` by column."""
    text = resources.files("fleetseg.data").joinpath("label_maps", f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def colour(row: Mapping[str, str]) -> Colour:
    """A row's RGB colour."""
    return int(row["red"]), int(row["green"]), int(row["blue"])


@cache
def named_classes(name: str) -> LabelSet:
    """The rows of a table as classes in their order; default colours where the table has none."""
    table = rows(name)
    return label_set([row["name"] for row in table], [colour(row) for row in table] if "red" in table[0] else None)


def table_of(ids: Mapping[int, int], size: int = 256) -> npt.NDArray[np.int16]:
    """Value in a file → class id as a (size,) look-up table; every other value is `UNKNOWN`."""
    table = np.full(size, UNKNOWN, np.int16)
    for value, class_id in ids.items():
        table[value] = class_id
    return table


@cache
def cityscapes_table() -> npt.NDArray[np.int16]:
    """(256,): the ids in ``*_labelIds.png`` → 19 train ids, 255 for ids that are not evaluated."""
    return table_of({int(row["id"]): int(row["train_id"]) for row in rows("cityscapes") if int(row["id"]) >= 0})


@cache
def cityscapes_ids() -> npt.NDArray[np.uint8]:
    """(256,) uint8: train id → the id that Cityscapes' files and server use; 0 (unlabeled) for everything else."""
    table = np.zeros(256, np.uint8)
    for row in rows("cityscapes"):
        if 0 <= int(row["train_id"]) < CITYSCAPES_19.num_classes:
            table[int(row["train_id"])] = int(row["id"])
    return table


@cache
def cityscapes_categories() -> Mapping[str, tuple[str, ...]]:
    """Cityscapes' seven categories (flat, construction, …) → the names of their evaluated classes."""
    members: dict[str, list[str]] = {}
    for row in rows("cityscapes"):
        if row["ignored"] == "no" and int(row["train_id"]) >= 0:
            members.setdefault(row["category"], []).append(row["name"])
    return {category: tuple(names) for category, names in members.items()}


@cache
def mapillary_to_cityscapes(version: str) -> Mapping[str, int]:
    """Mapillary's label name → Cityscapes' train id, 255 for none; `version` is ``v1.2`` or ``v2.0``."""
    return {row["name"]: int(row["train_id"]) for row in rows(f"mapillary_{version}")}


@cache
def sunrgbd_classes() -> LabelSet:
    """The 37 classes; class id k stands as k + 1 in the files, where 0 is unlabelled."""
    return named_classes("sunrgbd")


def shifted_table(num_classes: int) -> npt.NDArray[np.int16]:
    """(65536,): 0 → 255, k → k − 1 up to `num_classes`, nothing else."""
    ids = {0: IGNORE_INDEX} | {class_id + 1: class_id for class_id in range(num_classes)}
    return table_of(ids, 65536)
