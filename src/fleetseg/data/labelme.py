"""labelme's JSON files, one an image, beside the images or in a folder of their own.

    ROOT/NAME.jpg, ROOT/NAME.json            or ROOT/train/…, ROOT/val/… for splits
    ROOT/labels.txt                          optional: class names in id order, as labelme's --labels takes them

Shapes are polygons, rectangles, circles, lines, linestrips and painted masks; points are left out.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetseg.data.annotated import (
    DEFAULT_OPTIONS,
    UNDIVIDED,
    AnnotatedDataset,
    Options,
    expecting,
    image_beside,
    part_of,
    read_json,
)
from fleetseg.data.file_dataset import Found, Item, text_lines
from fleetseg.data.pairing import Fault
from fleetseg.data.shapes import Shape
from fleetseg.errors import DataError

_LABELS_FILE = "labels.txt"
_EXPECTED = "a labelme file holds 'shapes' with label, points and shape_type, 'imagePath', 'imageHeight', 'imageWidth'"
#: Of so many files one should be whole, whatever is wrong with the others.
_FILES_LOOKED_AT = 10
#: labelme's own width of lines, in pixels.
_LINE_WIDTH = 10


class Labelme(AnnotatedDataset):
    """One split: a folder of JSON files, or a part of an undivided one."""

    format = "labelme"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Any of the first JSON files, here or one folder down, has labelme's keys."""
        files = [path for pattern in ("*.json", "*/*.json") for path in sorted(root.glob(pattern))]
        contents = (path.read_bytes() for path in files[:_FILES_LOOKED_AT])
        return any(b'"shapes"' in content and b'"imagePath"' in content for content in contents)

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Folders with JSON files in them, or the parts of an undivided folder."""
        base = root / (options.annotations or "")
        folders = {path.parent.name for path in base.glob("*/*.json")}
        return tuple(sorted(folders)) or UNDIVIDED

    def find(self) -> Found:
        """The JSON files, sorted by name; each names its image."""
        base = self.root / (self.options.annotations or "")
        divided = (base / self.split).is_dir()
        folder = base / self.split if divided else base
        contents = {path: read_json(path, _EXPECTED) for path in sorted(folder.rglob("*.json"))}
        everywhere = contents if not divided else {p: read_json(p, _EXPECTED) for p in sorted(base.rglob("*.json"))}
        listed = self.root / _LABELS_FILE
        known = text_lines(listed, "one label a line is expected") if listed.is_file() else []
        self.set_classes([*known, *_names(everywhere)], keep_order=bool(known))
        items, faults = [], []
        for path, content in contents.items():
            with expecting(path, _EXPECTED):
                image = image_beside(self._image_folders(path), content["imagePath"])
            if image is None:
                message = f"{path}: its image {content['imagePath']} is missing"
                faults.append(Fault("missing", path, message))
            else:
                items.append(Item(image, path, image.stem))
        return Found(tuple(items), tuple(faults)) if divided else part_of(items, faults, self.split)

    def _image_folders(self, path: Path) -> list[Path]:
        if self.options.images is not None:
            return [self.root / self.options.images.replace("{split}", self.split)]
        return [path.parent, self.root, self.root / "images"]

    def shapes(self, item: Item) -> tuple[list[Shape], tuple[int, int]]:
        """In the order of the file, later over earlier."""
        content = read_json(item.label or item.image, _EXPECTED)
        with expecting(item.label, _EXPECTED):
            return _shapes(content), (int(content["imageWidth"]), int(content["imageHeight"]))


def _names(contents: dict[Path, Any]) -> list[str]:
    names = []
    for path, content in contents.items():
        with expecting(path, _EXPECTED):
            names += [str(shape["label"]) for shape in content["shapes"]]
    return names


def _shapes(content: dict[str, Any]) -> list[Shape]:
    return [shape for entry in content["shapes"] for shape in _shape(entry)]


def _shape(entry: dict[str, Any]) -> list[Shape]:
    label = str(entry["label"])
    points = tuple((float(x), float(y)) for x, y in entry["points"])
    kind = entry.get("shape_type") or "polygon"
    if kind == "polygon":
        return [Shape(label, "polygon", points)]
    if kind == "rectangle":
        return [Shape(label, "box", points)]
    if kind == "circle":
        (x, y), radius = points[0], math.dist(points[0], points[1])
        return [Shape(label, "ellipse", ((x - radius, y - radius), (x + radius, y + radius)))]
    if kind in ("line", "linestrip"):
        return [Shape(label, "line", points, width=_LINE_WIDTH)]
    if kind == "mask":
        return [Shape(label, "mask", points[:1], _stencil(entry["mask"]))]
    if kind in ("point", "points"):
        return []
    raise DataError(f"the shape '{label}' is a {kind}, which encloses no known area; {_EXPECTED}")


def _stencil(text: str) -> npt.NDArray[np.bool_]:
    """(h, w) bool of the PNG in base 64 that a painted mask is."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as file:
            return np.asarray(np.array(file) > 0, bool)
    except (binascii.Error, OSError) as error:
        raise ValueError(f"a painted mask is broken: {error}") from error
