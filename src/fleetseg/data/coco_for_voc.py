"""MS COCO's images as additional training images for PASCAL VOC's 20 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import DEFAULT_OPTIONS, expecting, image_beside, missing_image, read_json
from fleetseg.data.coco_instances import EXPECTED, annotation_files, expected_place, image_folders, object_mask
from fleetseg.data.file_dataset import Found, Item
from fleetseg.data.label_tables import rows
from fleetseg.data.pairing import Fault
from fleetseg.errors import DataError
from fleetseg.labels import IGNORE_INDEX, LabelSet


def coco_found(root: Path, labels: LabelSet) -> Found:
    """The images of train2017 (or another training file) that show any of the 20 classes, in the file's order."""
    files = {path for split, path in annotation_files(root, "instances_").items() if split.startswith("train")}
    if not files:
        raise DataError(f"{root / 'annotations' / 'instances_train2017.json'} is missing; {EXPECTED}")
    items: list[Item] = []
    faults: list[Fault] = []
    for path in sorted(files):
        content = read_json(path, EXPECTED)
        with expecting(path, EXPECTED):
            found = _read(root, path, content, labels)
            items += found.items
            faults += found.faults
    return Found(tuple(items), tuple(faults))


def _read(root: Path, path: Path, content: dict[str, Any], labels: LabelSet) -> Found:
    voc = {row["coco"]: labels.names.index(row["voc"]) for row in rows("coco_to_voc")}
    ids = {entry["id"]: voc[entry["name"]] for entry in content["categories"] if entry["name"] in voc}
    objects: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        if annotation["category_id"] in ids:
            objects.setdefault(annotation["image_id"], []).append(annotation)
    folders = image_folders(root, path.stem.removeprefix("instances_"), DEFAULT_OPTIONS)
    items, faults = [], []
    for entry in content["images"]:
        drawn = sorted(objects.get(entry["id"], ()), key=lambda a: -float(a.get("area", 0)))
        if not drawn:
            continue
        image = image_beside(folders, entry["file_name"])
        if image is None:
            faults.append(missing_image(expected_place(folders, entry["file_name"]), path))
            continue
        size = (int(entry["width"]), int(entry["height"]))
        pairs = tuple((ids[annotation["category_id"]], annotation) for annotation in drawn)
        items.append(Item(image, path, image.stem, (size, pairs, path)))
    return Found(tuple(items), tuple(faults))


def coco_mask(annotation: Any) -> npt.NDArray[np.uint8]:
    """(H, W) VOC ids: 0 is background, crowds are 255, as VOC's own borders."""
    (width, height), pairs, path = annotation
    mask = np.zeros((height, width), np.uint8)
    for class_id, entry in pairs:
        mask[object_mask(entry, (width, height), path)] = IGNORE_INDEX if entry.get("iscrowd") else class_id
    return mask
