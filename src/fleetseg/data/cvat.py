"""CVAT's export "CVAT for images 1.1": one ``annotations.xml`` and the images.

Shapes are polygons, boxes, ellipses, polylines and masks (run lengths), drawn by their z_order; tags and points are
left out. Splits are the images' subsets; without any the last fifth of the images is ``val``.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import (
    DEFAULT_OPTIONS,
    UNDIVIDED,
    AnnotatedDataset,
    Options,
    expecting,
    image_beside,
    missing_image,
    part_of,
)
from fleetseg.data.file_dataset import Found, Item
from fleetseg.data.shapes import Kind, Shape
from fleetseg.errors import DataError

_FILE = "annotations.xml"
_EXPECTED = "CVAT's annotations.xml holds <image> elements with name, width, height and shapes"
_KINDS = ("polygon", "box", "ellipse", "polyline", "mask")
#: CVAT has no width of lines; this is what is still seen at 1/8.
_LINE_WIDTH = 8


class Cvat(AnnotatedDataset):
    """One subset."""

    format = "cvat"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The file that CVAT writes."""
        return (root / _FILE).is_file()

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """The subsets that images name, in lower case, or the parts of an undivided set."""
        subsets = {_subset(image) for image in _document(root / (options.annotations or _FILE)).iter("image")}
        return tuple(sorted(subsets - {""})) or UNDIVIDED

    def find(self) -> Found:
        """The images in the file's order."""
        path = self.root / (self.options.annotations or _FILE)
        document = _document(path)
        images = list(document.iter("image"))
        listed = [element.text or "" for element in document.iterfind(".//labels/label/name")]
        used = [str(shape.get("label")) for image in images for shape in image if shape.tag in _KINDS]
        self.set_classes([*listed, *used], keep_order=bool(listed))
        divided = any(_subset(image) for image in images)
        folder = self.root / (self.options.images or "images").replace("{split}", self.split)
        items, faults = [], []
        for element in images:
            if divided and _subset(element) != self.split:
                continue
            name = str(element.get("name"))
            places = [folder, folder / self.split, self.root, self.root / self.split]
            image = image_beside(places, name)
            if image is None:
                faults.append(missing_image(folder / name, path))
            else:
                items.append(Item(image, path, image.stem, element))
        return Found(tuple(items), tuple(faults)) if divided else part_of(items, faults, self.split)

    def shapes(self, item: Item) -> tuple[list[Shape], tuple[int, int]]:
        """By z_order, then the file's order."""
        element: Element = item.annotation
        with expecting(item.label, _EXPECTED):
            return _shapes(element), (int(element.attrib["width"]), int(element.attrib["height"]))


def _document(path: Path) -> Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; {_EXPECTED}") from None
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: it is no valid XML ({error}); {_EXPECTED}") from error


def _subset(image: Element) -> str:
    return str(image.get("subset", "")).lower()


def _shapes(image: Element) -> list[Shape]:
    drawn = [element for element in image if element.tag in _KINDS]
    drawn.sort(key=lambda element: int(element.get("z_order", "0")))
    return [_shape(element) for element in drawn]


def _shape(element: Element) -> Shape:
    label, attributes = str(element.attrib["label"]), element.attrib
    if element.tag == "box":
        left, top, right, bottom = (float(attributes[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Shape(label, "box", ((left, top), (right, bottom)))
    if element.tag == "ellipse":
        x, y, rx, ry = (float(attributes[key]) for key in ("cx", "cy", "rx", "ry"))
        return Shape(label, "ellipse", ((x - rx, y - ry), (x + rx, y + ry)))
    if element.tag == "mask":
        return Shape(label, "mask", ((float(attributes["left"]), float(attributes["top"])),), _run_lengths(element))
    points = [tuple(float(value) for value in pair.split(",")) for pair in attributes["points"].split(";")]
    kind: Kind = "polygon" if element.tag == "polygon" else "line"
    return Shape(label, kind, tuple((x, y) for x, y in points), width=_LINE_WIDTH)


def _run_lengths(element: Element) -> npt.NDArray[np.bool_]:
    """(h, w) bool of alternating lengths of 0 and 1, row by row, beginning with 0."""
    height, width = int(element.attrib["height"]), int(element.attrib["width"])
    lengths = np.array([int(word) for word in element.attrib["rle"].split(",")])
    if lengths.sum() != height * width:
        raise ValueError(f"a mask's run lengths add up to {lengths.sum()}, not {width}×{height}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
