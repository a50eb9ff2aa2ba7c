"""Pictures of results: the confusion matrix, and images beside their labels and predictions."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fleetseg.labels import LabelSet
from fleetseg.metrics import normalised
from fleetseg.overlay import overlay, with_legend

Picture = npt.NDArray[np.uint8]

_CELL, _MARGIN, _GAP = 52, 12, 6
_WHITE, _INK, _RED = (255, 255, 255), (30, 30, 30), (205, 30, 20)


def confusion_picture(
    counts: npt.NDArray[np.int64], labels: LabelSet, by: Literal["target", "prediction"] = "target"
) -> Picture:
    """Confusion matrix as a heat map: each row (`by` target) or column (prediction) of labelled pixels sums to 100%.

    `counts` as in `metrics.ConfusionMatrix`; the last column is drawn if the network predicts "no class".
    """
    names = list(labels.names)
    columns = [*names, "no class"] if counts[:-1, -1].any() else names
    shares = np.nan_to_num(normalised(counts[: len(names), : len(columns)], by))
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=13)
    label_width = round(max(font.getlength(name) for name in [*names, *columns])) + 2 * _MARGIN
    left, top = label_width, label_width + 24
    caption = f"rows: labelled as, columns: predicted as, % of {'row' if by == 'target' else 'column'}"
    width = max(left + _CELL * len(columns), round(font.getlength(caption)) + _MARGIN) + _MARGIN
    canvas = Image.new("RGB", (width, top + _CELL * len(names) + _MARGIN), _WHITE)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), caption, fill=_INK, font=font)
    for row, name in enumerate(names):
        draw.text((left - 8, top + (row + 0.5) * _CELL), name, fill=_INK, font=font, anchor="rm")
        for column in range(len(columns)):
            _draw_cell(draw, small, left + column * _CELL, top + row * _CELL, shares[row, column], row == column)
    for column, name in enumerate(columns):
        _draw_upright(canvas, font, name, left + column * _CELL, top - 6)
    return np.array(canvas, dtype=np.uint8)


def _draw_cell(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    x: float,
    y: float,
    share: float,
    correct: bool,
) -> None:
    full = np.array((23, 110, 60) if correct else (190, 40, 30))
    colour = tuple(int(value) for value in 255 - (255 - full) * share**0.5)
    draw.rectangle((x, y, x + _CELL - 2, y + _CELL - 2), fill=colour, outline=(225, 225, 225))
    if share >= 0.0005:
        ink = _WHITE if share > 0.35 else _INK
        draw.text((x + _CELL / 2 - 1, y + _CELL / 2 - 1), f"{100 * share:.1f}", fill=ink, font=font, anchor="mm")


def _draw_upright(
    canvas: Image.Image, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, x: int, bottom: int
) -> None:
    length = round(font.getlength(text)) + 2
    strip = Image.new("RGB", (length, 22), _WHITE)
    ImageDraw.Draw(strip).text((0, 11), text, fill=_INK, font=font, anchor="lm")
    canvas.paste(strip.rotate(90, expand=True), (x + (_CELL - 22) // 2, bottom - length))


def comparison(image: Picture, target: Picture, prediction: Picture, labels: LabelSet, title: str) -> Picture:
    """Image, labels over it, prediction over it and the wrong pixels, two by two with a title and a legend.

    image (H, W, 3) uint8 RGB; target and prediction (H, W) uint8, values without a class stay uncoloured.
    """
    labelled = target < labels.num_classes
    wrong = labelled & (prediction != target)
    share = wrong.sum() / max(1, labelled.sum())
    panels = (
        ("image", image),
        ("label", overlay(image, target, labels, 0.65)),
        ("prediction", overlay(image, prediction, labels, 0.65)),
        (f"wrong: {100 * share:.1f} % of the labelled pixels", _marked(image, wrong)),
    )
    font = ImageFont.load_default(size=max(14, image.shape[1] // 40))
    line = 2 * round(font.getbbox("Ag")[3])
    texts = [title, *(text for text, _ in panels)]
    width = max(image.shape[1], *(math.ceil(font.getlength(text)) + _MARGIN for text in texts))
    height = line + image.shape[0]
    canvas = Image.new("RGB", (2 * width + _GAP, line + 2 * height), _WHITE)
    draw = ImageDraw.Draw(canvas)
    draw.text((8, line // 2), title, fill=_INK, font=font, anchor="lm")
    for place, (text, panel) in enumerate(panels):
        x, y = (place % 2) * (width + _GAP), line + (place // 2) * height
        draw.text((x + 8, y + line // 2), text, fill=_INK, font=font, anchor="lm")
        canvas.paste(Image.fromarray(panel), (x, y + line))
    return with_legend(np.array(canvas, dtype=np.uint8), labels)


def _marked(image: Picture, where: npt.NDArray[np.bool_]) -> Picture:
    """The image in pale grey, and red `where` it is true."""
    grey = image.mean(axis=2, keepdims=True) * 0.5 + 127
    picture = np.repeat(grey, 3, axis=2).astype(np.uint8)
    picture[where] = _RED
    return picture
