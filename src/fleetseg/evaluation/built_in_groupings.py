"""The groupings that ship, made from the tables of the data sets' classes (docs/evaluation.md lists them)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fleetseg.data.label_tables import cityscapes_categories, colour, rows
from fleetseg.labels import CAMVID_11, CITYSCAPES_19, Colour

Parts = tuple[Mapping[str, tuple[str, ...]], frozenset[str], tuple[Colour, ...]]

_MAPILLARY = ("mapillary_v1.2", "mapillary_v2.0")


def _cityscapes_categories() -> Parts:
    """Seven categories from the classes of Cityscapes, CamVid and Mapillary (each by its Cityscapes class)."""
    return _categories("category")


def _wide_categories() -> Parts:
    """The same with Mapillary's labels that Cityscapes lists but does not score, or that clearly belong."""
    return _categories("category_wide")


def _categories(column: str) -> Parts:
    members = {category: list(names) for category, names in cityscapes_categories().items()}
    category_of = {name: category for category, names in members.items() for name in names}
    ignored: set[str] = set()
    for camvid, names in _camvid_to_cityscapes().items():
        categories = {category_of[name] for name in names}
        # Bicyclist is a rider with his bicycle, human and vehicle in one: no category can hold it.
        ignored |= {camvid} if len(categories) > 1 else set()
        if len(categories) == 1:
            members[categories.pop()].append(camvid)
    for row in _mapillary_rows():
        if row[column] == "void":
            ignored.add(row["name"])
        elif row["name"] not in members[row[column]]:
            members[row[column]].append(row["name"])
    # The first class of a category lends its colour.
    colours = {row["name"]: colour(row) for row in rows("cityscapes")}
    palette = tuple(colours[names[0]] for names in members.values())
    return {category: tuple(names) for category, names in members.items()}, frozenset(ignored), palette


def _cityscapes_classes() -> Parts:
    """Cityscapes' 19 classes from Mapillary's labels."""
    members: dict[str, list[str]] = {name: [name] for name in CITYSCAPES_19.names}
    ignored = set()
    for row in _mapillary_rows():
        train_id = int(row["train_id"])
        if train_id >= CITYSCAPES_19.num_classes:
            ignored.add(row["name"])
        elif row["name"] not in members[CITYSCAPES_19.names[train_id]]:
            members[CITYSCAPES_19.names[train_id]].append(row["name"])
    return {name: tuple(names) for name, names in members.items()}, frozenset(ignored), CITYSCAPES_19.palette


def _camvid_classes() -> Parts:
    """CamVid's 11 classes from Cityscapes' 19, and from Mapillary's labels by way of those."""
    cityscapes, ignored, _ = _cityscapes_classes()
    groups = {
        camvid: (camvid, *_joined(cityscapes[name] for name in names))
        for camvid, names in _camvid_to_cityscapes().items()
    }
    return groups, ignored, CAMVID_11.palette


def _camvid_to_cityscapes() -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = dict.fromkeys(CAMVID_11.names, ())
    for row in rows("camvid_to_cityscapes"):
        names[row["camvid"]] += (row["cityscapes"],)
    return names


def _mapillary_rows() -> Iterable[Mapping[str, str]]:
    return (row for table in _MAPILLARY for row in rows(table))


def _joined(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for part in parts for name in part)


#: Name → what it is made of.
BUILT_IN: Mapping[str, Callable[[], Parts]] = {
    "camvid": _camvid_classes,
    "cityscapes": _cityscapes_classes,
    "cityscapes-categories": _cityscapes_categories,
    "cityscapes-categories-wide": _wide_categories,
}
