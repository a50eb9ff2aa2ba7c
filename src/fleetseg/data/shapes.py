"""Drawing what people outline (polygons, boxes, ellipses, painted masks) into a mask of class ids.

Pixels are those that labelme fills: polygons with their outline, boxes with both corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Kind = Literal["polygon", "box", "ellipse", "line", "mask"]


@dataclass(frozen=True)
class Shape:
    """One outlined thing; points are (x, y) in pixels."""

    label: str
    kind: Kind
    #: polygon, line: its corners; box, ellipse: two opposite corners of the box around it; mask: its upper left.
    points: tuple[tuple[float, float], ...]
    #: Of the kind mask alone: (h, w) bool, to be laid at the point.
    pixels: npt.NDArray[np.bool_] | None = None
    #: Of the kind line alone, in pixels.
    width: int = 1


def draw_shapes(
    shapes: Iterable[Shape], size: tuple[int, int], ids: Mapping[str, int], background: int
) -> npt.NDArray[np.uint8]:
    """Later shapes over earlier ones → (H, W) uint8; size is (width, height), `background` fills the rest."""
    canvas = Image.new("L", size, background)
    draw = ImageDraw.Draw(canvas)
    for shape in shapes:
        class_id = ids[shape.label]
        points = [(float(x), float(y)) for x, y in shape.points]
        if shape.kind == "mask":
            assert shape.pixels is not None
            left, top = round(points[0][0]), round(points[0][1])
            stencil = Image.fromarray(shape.pixels.astype(np.uint8) * 255)
            canvas.paste(class_id, (left, top), stencil)
        elif shape.kind == "polygon" and len(points) > 2:
            draw.polygon(points, outline=class_id, fill=class_id)
        elif shape.kind in ("polygon", "line") and len(points) > 1:
            draw.line(points, fill=class_id, width=shape.width)
        elif shape.kind == "box":
            draw.rectangle(ordered_corners(points), outline=class_id, fill=class_id)
        elif shape.kind == "ellipse":
            draw.ellipse(ordered_corners(points), outline=class_id, fill=class_id)
    return np.array(canvas, dtype=np.uint8)


def ordered_corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Upper left and lower right of two opposite corners."""
    (x0, y0), (x1, y1) = points[0], points[1]
    return [(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))]
