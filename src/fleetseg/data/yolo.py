"""YOLO-style polygons, as Ultralytics' segmentation data sets: ``data.yaml`` and a text file an image.

    ROOT/data.yaml                   path, train, val, test: folders or lists of images; names: by number
    ROOT/images/train/NAME.jpg       labels/train/NAME.txt: "class x1 y1 x2 y2 …" a line, 0 to 1

An image without a text file has no objects; pixels without one are the class background.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fleetseg.data.annotated import DEFAULT_OPTIONS, AnnotatedDataset, Options, image_size
from fleetseg.data.file_dataset import Found, Item, text_lines
from fleetseg.data.pairing import Fault
from fleetseg.data.shapes import Shape
from fleetseg.errors import DataError
from fleetseg.image import IMAGE_SUFFIXES

_FILES = ("data.yaml", "dataset.yaml", "data.yml")
_SPLITS = ("train", "val", "test")
_EXPECTED = "data.yaml of a YOLO data set holds 'names' and the image folders 'train' and 'val'"
_EXPECTED_LINE = "a class number and at least three points, 0 to 1, are expected: 'class x1 y1 x2 y2 x3 y3 …'"


class Yolo(AnnotatedDataset):
    """One split of data.yaml."""

    format = "yolo"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """data.yaml names classes and a training folder."""
        path = _data_file(root)
        if path is None:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
        return "names" in text and "train" in text

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Those that data.yaml names."""
        content = _read(root, options)[1]
        return tuple(split for split in _SPLITS if content.get(split))

    def find(self) -> Found:
        """The split's images, sorted or as listed."""
        path, content = _read(self.root, self.options)
        names = _names(path, content)
        self._class_names = names
        self.set_classes(names, keep_order=True)
        places = content[self.split] if isinstance(content[self.split], list) else [content[self.split]]
        base = _base(self.root, content)
        items, faults = [], []
        for place in places:
            images = _images(base, str(place), path)
            for image in images:
                if not image.is_file():
                    faults.append(Fault("missing", image, f"{image}: the image file is missing; {path.name} lists it"))
                else:
                    items.append(Item(image, label_of(image), image.stem))
        return Found(tuple(items), tuple(faults))

    def shapes(self, item: Item) -> tuple[list[Shape], tuple[int, int]]:
        """In the order of the lines, later over earlier."""
        assert item.label is not None
        size = image_size(item.image)
        lines = text_lines(item.label, _EXPECTED_LINE) if item.label.is_file() else []
        return [self._shape(item.label, number, line, size) for number, line in enumerate(lines, start=1)], size

    def _shape(self, path: Path, number: int, line: str, size: tuple[int, int]) -> Shape:
        words = line.split()
        try:
            class_number, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: '{line[:60]}' is no polygon ({error}); {_EXPECTED_LINE}"
            ) from error
        if not 0 <= class_number < len(self._class_names):
            last = len(self._class_names) - 1
            raise DataError(f"{path}, line {number}: the class {class_number} does not exist; 0 to {last} do")
        if len(values) < 6 or len(values) % 2:
            what = "is a box, not a polygon" if len(values) == 4 else f"has {len(values)} coordinates"
            raise DataError(f"{path}, line {number}: it {what}; {_EXPECTED_LINE}")
        points = tuple((x * size[0], y * size[1]) for x, y in zip(values[::2], values[1::2], strict=True))
        return Shape(self._class_names[class_number], "polygon", points)


def label_of(image: Path) -> Path:
    """The text file of an image: the last folder called images becomes labels, the suffix .txt."""
    parts = list(image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _data_file(root: Path) -> Path | None:
    return next((root / name for name in _FILES if (root / name).is_file()), None)


def _read(root: Path, options: Options) -> tuple[Path, dict[str, Any]]:
    path = root / options.annotations if options.annotations else _data_file(root)
    if path is None or not path.is_file():
        raise DataError(f"{path or root / _FILES[0]} is missing; {_EXPECTED}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: it is no valid YAML ({' '.join(str(error).split())}); {_EXPECTED}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: it is no mapping; {_EXPECTED}")
    return path, content


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: 'names' should list the classes, or number them from 0; {_EXPECTED}")
    return [str(name) for name in names]


def _base(root: Path, content: dict[str, Any]) -> Path:
    """The folder that paths begin from: 'path' if it exists, else that of data.yaml."""
    named = Path(str(content.get("path") or ""))
    for place in (root / named, root.parent / named):
        if place.is_dir():
            return place
    return root


def _images(base: Path, place: str, path: Path) -> list[Path]:
    """Images of a folder, folders inside included, or those that a text file lists."""
    # Some tools write ../train/images for a folder beside data.yaml.
    target = next((t for t in (base / place, base / place.removeprefix("../")) if t.exists()), base / place)
    if target.is_dir():
        return sorted(file for file in target.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if target.is_file():
        return [base / line.removeprefix("./") for line in text_lines(target, "an image path a line is expected")]
    raise DataError(f"{target} is missing: {path} names it as a folder of images")
