"""Showing a mask to people: class colours over the image, and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fleetseg.errors import UsageError
from fleetseg.labels import LabelSet

_PAPER = (248, 248, 248)
_INK = (32, 32, 32)


def overlay(
    image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], labels: LabelSet, opacity: float = 0.5
) -> npt.NDArray[np.uint8]:
    """Blend class colours over an image; pixels without a class (255 too) stay as they are.

    image (H, W, 3) uint8 RGB, mask (H, W) uint8 → (H, W, 3) uint8 RGB; opacity 0 is the image, 1 the colours.
    `UsageError` if the sizes differ or the opacity is outside 0–1.
    """
    if image.shape != (*mask.shape, 3):
        shapes = f"mask {mask.shape} and image {image.shape}"
        raise UsageError(f"{shapes} do not fit together; (H, W) and (H, W, 3) are needed")
    if not 0 <= opacity <= 1:
        raise UsageError(f"the opacity is {opacity}; it must be from 0 to 1")
    colours = labels.colour_table()[mask]
    blended = np.asarray(cv2.addWeighted(image, 1 - opacity, colours, opacity, 0), np.uint8)
    without_class = mask >= labels.num_classes
    blended[without_class] = image[without_class]
    return blended


def with_legend(
    picture: npt.NDArray[np.uint8], labels: LabelSet, shares: Sequence[float] | None = None
) -> npt.NDArray[np.uint8]:
    """Put a legend under an (H, W, 3) uint8 RGB picture; the result is at least as large in both directions.

    `shares` (0–1, one a class) leaves out absent classes, puts the largest first and prints percentages;
    without them all classes stand in id order.
    """
    entries = _entries(labels, shares)
    height, width = picture.shape[:2]
    font_size = max(12, round(width / 55))
    font = ImageFont.load_default(size=font_size)
    line_height = math.ceil(1.6 * font_size)
    cell = math.ceil(max((font.getlength(text) for text, _ in entries), default=0)) + 2 * line_height
    columns = max(1, width // cell)
    rows = math.ceil(len(entries) / columns)
    margin = line_height // 3
    canvas = Image.new("RGB", (max(width, cell), height + rows * line_height + 2 * margin), _PAPER)
    canvas.paste(Image.fromarray(np.ascontiguousarray(picture)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for place, (text, colour) in enumerate(entries):
        left = (place % columns) * cell + margin
        top = height + margin + (place // columns) * line_height
        swatch = (left, top + line_height // 6, left + line_height, top + line_height - line_height // 6)
        draw.rectangle(swatch, fill=colour, outline=_INK)
        middle = (left + 1.35 * line_height, top + line_height / 2)
        draw.text(middle, text, fill=_INK, font=font, anchor="lm")
    return np.array(canvas, dtype=np.uint8)


def _entries(labels: LabelSet, shares: Sequence[float] | None) -> list[tuple[str, tuple[int, int, int]]]:
    """Text and colour of each legend entry, in order."""
    if shares is None:
        return list(zip(labels.names, labels.palette, strict=True))
    order = sorted(range(labels.num_classes), key=lambda class_id: -shares[class_id])
    return [
        (f"{labels.names[class_id]} {_percent(shares[class_id])}", labels.palette[class_id])
        for class_id in order
        if shares[class_id] > 0
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"
