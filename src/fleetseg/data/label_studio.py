"""Label Studio's JSON export: a list of tasks, each with an image and the results of its annotation.

    ROOT/export.json (or the only JSON file), images in ROOT/images, ROOT, or as uploaded (upload/1/abcd-NAME.jpg)

Polygons, rectangles and ellipses, turned ones too, and brush strokes are read; of several annotations of a task the
newest that was not cancelled counts.
"""

from __future__ import annotations

import math
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import (
    DEFAULT_OPTIONS,
    UNDIVIDED,
    AnnotatedDataset,
    Options,
    expecting,
    image_beside,
    image_size,
    part_of,
    read_json,
)
from fleetseg.data.file_dataset import Found, Item
from fleetseg.data.pairing import Fault
from fleetseg.data.shapes import Shape
from fleetseg.errors import DataError

_EXPECTED = "Label Studio's JSON export is a list of tasks with 'data' and 'annotations', each with a list 'result'"
#: Corners of the polygon that a turned ellipse becomes.
_CORNERS = 72
_TYPES = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels")


class LabelStudio(AnnotatedDataset):
    """A part of an export; an export knows no splits."""

    format = "label-studio"

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The only JSON file begins a list of tasks."""
        files = sorted(root.glob("*.json"))
        if len(files) != 1:
            return False
        beginning = files[0].read_bytes()[:100_000]
        return beginning.lstrip()[:1] == b"[" and b'"annotations"' in beginning

    @classmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:  # noqa: ARG003
        """The parts of an undivided set."""
        return UNDIVIDED

    def find(self) -> Found:
        """The annotated tasks in the file's order."""
        path = self.root / self.options.annotations if self.options.annotations else _only_json(self.root)
        content = read_json(path, _EXPECTED)
        with expecting(path, _EXPECTED):
            tasks = [(dict(task), _image_of(task), _results(task)) for task in content]
            names = [str(label) for *_, found in tasks for result in found for label in result["value"][result["type"]]]
        self.set_classes(names)
        folders = [self.root / (self.options.images or "images"), self.root]
        items, faults = [], []
        for task, place, found in tasks:
            image = image_beside(folders, place) or image_beside(folders, Path(place).name.partition("-")[2])
            if image is None:
                faults.append(
                    Fault(
                        "missing",
                        folders[0] / place,
                        f"{folders[0] / place}: the image of task {task.get('id')} in {path.name} is missing",
                    )
                )
            elif found:
                items.append(Item(image, path, image.stem, found))
        return part_of(items, faults, self.split)

    def shapes(self, item: Item) -> tuple[list[Shape], tuple[int, int]]:
        """In the order of the results, later over earlier."""
        size = image_size(item.image)
        with expecting(item.label, _EXPECTED):
            return [_shape(result, size) for result in item.annotation], size


def _only_json(root: Path) -> Path:
    files = sorted(root.glob("*.json"))
    if len(files) != 1:
        raise DataError(f"{root}: {len(files)} JSON files are here; name the export with 'annotations:'")
    return files[0]


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The drawn results of the task's newest annotation."""
    valid = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
    if not valid:
        return []
    newest = max(valid, key=lambda entry: str(entry.get("created_at", "")))
    return [result for result in newest["result"] if result.get("type") in _TYPES]


def _image_of(task: dict[str, Any]) -> str:
    """The path or file name of the task's image, without server and query."""
    values = [value for key, value in task["data"].items() if isinstance(value, str)]
    address = str(task["data"].get("image", values[0] if values else ""))
    parts = urllib.parse.urlsplit(address)
    local = urllib.parse.parse_qs(parts.query).get("d")
    return urllib.parse.unquote(local[0] if local else parts.path).removeprefix("/data/").lstrip("/")


def _shape(result: dict[str, Any], size: tuple[int, int]) -> Shape:
    value, kind = result["value"], result["type"]
    label = str(value[kind][0])
    across, down = size[0] / 100, size[1] / 100  # coordinates are in per cent
    if kind == "polygonlabels":
        return Shape(label, "polygon", tuple((float(x) * across, float(y) * down) for x, y in value["points"]))
    if kind == "brushlabels":
        return Shape(label, "mask", ((0, 0),), decode_brush(value["rle"], size))
    angle = math.radians(float(value.get("rotation", 0)))
    if kind == "rectanglelabels":
        left, top = value["x"] * across, value["y"] * down
        width, height = value["width"] * across, value["height"] * down
        if not angle:
            return Shape(label, "box", ((left, top), (left + width, top + height)))
        corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
        return Shape(label, "polygon", _turned(corners, (left, top), angle))  # about its upper left corner
    x, y, rx, ry = (
        value[key] * scale for key, scale in (("x", across), ("y", down), ("radiusX", across), ("radiusY", down))
    )
    if not angle:
        return Shape(label, "ellipse", ((x - rx, y - ry), (x + rx, y + ry)))
    steps = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    return Shape(label, "polygon", _turned([(rx * math.cos(a), ry * math.sin(a)) for a in steps], (x, y), angle))


def _turned(
    points: Iterable[tuple[float, float]], centre: tuple[float, float], angle: float
) -> tuple[tuple[float, float], ...]:
    """Points around the origin, turned clockwise as seen (y points down) by radians and moved to the centre."""
    cos, sin = math.cos(angle), math.sin(angle)
    return tuple((centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in points)


def decode_brush(code: list[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(H, W) bool from Label Studio's run-length code of an RGBA picture (thi.ng's rle-pack): where alpha is not 0.

    A head of 32 bits for the number of values, 5 for the bits of a value less 1 and four times 4 for the bits of
    a length less 1; then blocks of 1 bit (a run or single values), 2 bits (which length), the length less 1 and
    the value or values.
    """
    bits = np.unpackbits(np.array(code, np.uint8))
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise ValueError("a brush stroke's code breaks off")
        number = int("".join(map(str, bits[place : place + count])), 2)
        place += count
        return number

    total, word = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if total != size[0] * size[1] * 4:
        raise ValueError(f"a brush stroke has {total} values, not 4 × {size[0]} × {size[1]}")
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        run = take(1)
        end = min(total, done + take(lengths[take(2)]) + 1)
        if run:
            values[done:end] = take(word)
        else:
            values[done:end] = [take(word) for _ in range(done, end)]
        done = end
    return np.asarray(values.reshape(size[1], size[0], 4)[..., 3] > 0, bool)
