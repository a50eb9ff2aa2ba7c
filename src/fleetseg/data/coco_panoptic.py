"""COCO's panoptic annotations: ``annotations/panoptic_SPLIT.json`` and its folder of coloured PNG files.

A pixel's segment is red + 256 × green + 65536 × blue; the JSON tells each segment's category. Pixels without a
segment (0) are 255. Single objects are those of categories with ``isthing`` that are no crowd.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import DEFAULT_OPTIONS, Options, expecting, image_beside, missing_image, read_json
from fleetseg.data.coco_instances import annotation_files, expected_place, image_folders
from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.label_files import packed_image
from fleetseg.data.pairing import Fault
from fleetseg.errors import DataError, ImageError
from fleetseg.image import read_image
from fleetseg.labels import IGNORE_INDEX, LabelSet, default_palette

_PREFIX = "panoptic_"
_EXPECTED = "COCO's panoptic JSON holds 'images', 'categories' and 'annotations' with file_name and segments_info"


class CocoPanoptic(FileDataset):
    """One split, named after its annotation file."""

    format = "coco-panoptic"

    def __init__(self, root: str | Path, split: str, strict: bool = True, options: Options = DEFAULT_OPTIONS) -> None:
        self.options = options
        super().__init__(root, split, strict)

    @classmethod
    def matches(cls, root: Path) -> bool:
        """A file ``annotations/panoptic_….json``."""
        return bool(annotation_files(root, _PREFIX))

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Names of the annotation files; ``train`` also stands for ``train2017``."""
        return tuple(annotation_files(root, _PREFIX, options))

    def known_splits(self) -> tuple[str, ...]:
        """Those under the own options."""
        return self.splits(self.root, self.options)

    def find(self) -> Found:
        """The annotated images, in the file's order."""
        path = annotation_files(self.root, _PREFIX, self.options)[self.split]
        content = read_json(path, _EXPECTED)
        with expecting(path, _EXPECTED):
            return self._read(path, content)

    def _read(self, path: Path, content: dict[str, Any]) -> Found:
        categories = sorted(content["categories"], key=lambda entry: entry["id"])
        default = default_palette(len(categories))
        palette = [tuple(entry.get("color", default[place])) for place, entry in enumerate(categories)]
        self.labels = LabelSet(tuple(str(entry["name"]) for entry in categories), tuple(palette))
        self._class_ids = {entry["id"]: place for place, entry in enumerate(categories)}
        self._things = {entry["id"] for entry in categories if entry.get("isthing")}
        images = {entry["id"]: entry["file_name"] for entry in content["images"]}
        split = path.stem.removeprefix(_PREFIX)
        folders = image_folders(self.root, split, self.options)
        items, faults = [], []
        for entry in content["annotations"]:
            name = images[entry["image_id"]]
            image, label = image_beside(folders, name), path.with_suffix("") / entry["file_name"]
            if image is None:
                faults.append(missing_image(expected_place(folders, name), path))
            elif not label.is_file():
                faults.append(Fault("image without label", image, f"{image}: its label {label} is missing"))
            else:
                items.append(Item(image, label, image.stem, tuple(entry["segments_info"])))
        return Found(tuple(items), tuple(faults))

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """The categories in the order of their ids, and 255."""
        classes = {0: IGNORE_INDEX}
        for segment in item.annotation:
            if segment["category_id"] not in self._class_ids:
                raise DataError(
                    f"{item.label}: segment {segment['id']} has the unknown category "
                    f"{segment['category_id']}; {_EXPECTED}"
                )
            classes[segment["id"]] = self._class_ids[segment["category_id"]]
        return self._through(item, classes).astype(np.uint8)

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """(H, W) int32: the segment's number where it is a single object, 0 elsewhere."""
        item = self.items[index]
        numbers = {0: 0}
        for segment in item.annotation:
            single = segment["category_id"] in self._things and not segment.get("iscrowd")
            numbers[segment["id"]] = segment["id"] if single else 0
        return self._through(item, numbers).astype(np.int32)

    def _through(self, item: Item, table: dict[int, int]) -> npt.NDArray[np.int64]:
        assert item.label is not None
        if not item.label.is_file():
            raise ImageError(f"{item.label}: the label file is missing")
        pixels = read_image(item.label)
        segments, places = np.unique(packed_image(pixels), return_inverse=True)
        places = places.reshape(-1)
        for place, segment in enumerate(segments.tolist()):
            if segment not in table:
                row, column = divmod(int(np.argmax(places == place)), pixels.shape[1])
                raise DataError(
                    f"{item.label}: the colour {tuple(pixels[row, column].tolist())} at row {row}, column {column} is "
                    f"segment {segment}, which the JSON does not list; {_EXPECTED}"
                )
        height, width = pixels.shape[:2]
        found = np.array([table[segment] for segment in segments.tolist()], np.int64)[places]
        return found.reshape(height, width)
