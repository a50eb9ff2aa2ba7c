"""COCO's instance annotations, as ``instances_train2017.json``; also what tools export as "COCO".

    ROOT/annotations/instances_SPLIT.json     images, categories, annotations with polygons or RLE
    ROOT/SPLIT/…, ROOT/images/SPLIT/… or ROOT/images/…    the images by file_name

Large objects are drawn first, so that a small one in front stays visible; regions with ``iscrowd`` too. Pixels
without an object are the class background.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import (
    DEFAULT_OPTIONS,
    AnnotatedDataset,
    Options,
    expecting,
    image_beside,
    missing_image,
    read_json,
)
from fleetseg.data.file_dataset import Found, Item
from fleetseg.data.shapes import Shape
from fleetseg.errors import DataError
from fleetseg.optional_packages import need

_PREFIX = "instances_"
EXPECTED = "COCO's instance JSON holds lists 'images', 'annotations' and 'categories'"


class CocoInstances(AnnotatedDataset):
    """One split, named after its annotation file."""

    format = "coco-instances"
    prefix = _PREFIX

    @classmethod
    def matches(cls, root: Path) -> bool:
        """A file ``annotations/instances_….json``."""
        return bool(annotation_files(root, cls.prefix))

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Names of the annotation files; ``train`` also stands for ``train2017``."""
        return tuple(annotation_files(root, cls.prefix, options))

    def find(self) -> Found:
        """All images that the file lists, in its order, those without objects too."""
        path = annotation_files(self.root, self.prefix, self.options)[self.split]
        content = read_json(path, EXPECTED)
        with expecting(path, EXPECTED):
            return self._read(path, content)

    def _read(self, path: Path, content: dict[str, Any]) -> Found:
        names = {entry["id"]: str(entry["name"]) for entry in sorted(content["categories"], key=lambda c: c["id"])}
        self.set_classes(names.values(), keep_order=True)
        annotations: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
        for annotation in content["annotations"]:
            if annotation["category_id"] not in names:
                raise DataError(
                    f"{path}: annotation {annotation['id']} has the unknown category "
                    f"{annotation['category_id']}; {EXPECTED}"
                )
            if annotation["image_id"] in annotations:
                annotations[annotation["image_id"]].append(annotation)
        items, faults = [], []
        folders = image_folders(self.root, path.stem.removeprefix(self.prefix), self.options)
        for entry in content["images"]:
            image = image_beside(folders, entry["file_name"])
            if image is None:
                faults.append(missing_image(expected_place(folders, entry["file_name"]), path))
                continue
            size = (int(entry["width"]), int(entry["height"]))
            drawn = sorted(annotations[entry["id"]], key=lambda a: -float(a.get("area", 0)))
            pairs = tuple((names[annotation["category_id"]], annotation) for annotation in drawn)
            items.append(Item(image, path, image.stem, (size, pairs)))
        return Found(tuple(items), tuple(faults))

    def shapes(self, item: Item) -> tuple[list[Shape], tuple[int, int]]:
        """One mask an object."""
        size, annotations = item.annotation
        shapes = [Shape(name, "mask", ((0, 0),), object_mask(a, size, item.label)) for name, a in annotations]
        return shapes, size


def object_mask(annotation: dict[str, Any], size: tuple[int, int], path: Path | None) -> npt.NDArray[np.bool_]:
    """(H, W) bool of an annotation's polygons, RLE or compressed RLE, by COCO's own code."""
    coding = need("pycocotools.mask", "reading COCO annotations")
    width, height = size
    segmentation: Any = annotation.get("segmentation")
    try:
        if isinstance(segmentation, list):
            rle = coding.merge(coding.frPyObjects(segmentation, height, width)) if segmentation else None
        elif isinstance(segmentation["counts"], list):
            rle = coding.frPyObjects(segmentation, height, width)
        else:
            rle = segmentation
        mask = np.zeros((height, width), bool) if rle is None else coding.decode(rle).astype(bool)
    except Exception as error:  # pycocotools raises what it likes
        raise DataError(
            f"{path}: the segmentation of annotation {annotation.get('id')} is broken ({error}); polygons "
            f"[[x, y, x, y, …], …] or a run-length code with 'size' and 'counts' are expected"
        ) from error
    if mask.shape != (height, width):
        raise DataError(
            f"{path}: the segmentation of annotation {annotation.get('id')} is {mask.shape[1]}×{mask.shape[0]}, its "
            f"image {width}×{height}"
        )
    return np.asarray(mask, bool)


def annotation_files(root: Path, prefix: str, options: Options = DEFAULT_OPTIONS) -> dict[str, Path]:
    """Split → JSON file; a year at the end of a split's name may be left out."""
    pattern = options.annotations or f"annotations/{prefix}{{split}}.json"
    if "{split}" not in pattern:
        return {"all": root / pattern}
    before, _, after = pattern.partition("{split}")
    files: dict[str, Path] = {}
    for path in sorted(root.glob(f"{before}*{after}")):
        place = path.relative_to(root).as_posix()
        split = place[len(before) : len(place) - len(after)]
        files[split] = path
        files.setdefault(re.sub(r"\d{4}$", "", split) or split, path)
    return files


def expected_place(folders: list[Path], name: str) -> Path:
    """Where an image that is missing should lie: in the first of the folders that is there, the data folder aside."""
    return next((folder for folder in folders[:-1] if folder.is_dir()), folders[0]) / name


def image_folders(root: Path, split: str, options: Options) -> list[Path]:
    """Where the images of a split may lie; of several, the last is the data folder itself."""
    if options.images is not None:
        return [root / options.images.replace("{split}", split)]
    plain = re.sub(r"\d{4}$", "", split)
    places = (split, f"images/{split}", plain, f"images/{plain}", "images", "")
    return [root / place for place in dict.fromkeys(places)]
