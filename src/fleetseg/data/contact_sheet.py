"""Many labelled images on one picture, to look at before training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fleetseg.data.base import Dataset, Sample
from fleetseg.data.class_weights import mask_pixel_counts
from fleetseg.image import overlay, resize_image, resize_mask, with_legend
from fleetseg.labels import LabelSet

_PAPER = (248, 248, 248)
_INK = (32, 32, 32)
_GAP = 6
_LINE = 18


def contact_sheet(dataset: Dataset, count: int = 12, columns: int = 3, width: int = 320) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: `count` samples, evenly spaced over the split, each as image and as overlay, a legend below.

    width: of an image in pixels; taller ones keep their shape. The legend has the shares of the labelled pixels
    shown, largest first. Raises `DataError` for a broken sample.
    """
    count = min(count, len(dataset))
    chosen = [round(place * (len(dataset) - 1) / max(1, count - 1)) for place in range(count)]
    pixels = np.zeros(256, np.int64)
    cells = []
    for index in chosen:
        sample = dataset[index]
        pixels += mask_pixel_counts(sample.mask)
        cells.append(_cell(sample, dataset.labels, width))
    labelled = pixels[: dataset.labels.num_classes]
    shares = (labelled / max(1, int(labelled.sum()))).tolist()
    return with_legend(_grid(cells, min(columns, count)), dataset.labels, shares)


def _cell(sample: Sample, labels: LabelSet, width: int) -> npt.NDArray[np.uint8]:
    """The image, beside it the image under its class colours, above both the name."""
    size = (width, max(1, round(sample.image.shape[0] * width / sample.image.shape[1])))
    image = resize_image(sample.image, size)
    mask = resize_mask(sample.mask, size)
    canvas = Image.new("RGB", (2 * width, size[1] + _LINE), _PAPER)
    canvas.paste(Image.fromarray(image), (0, _LINE))
    canvas.paste(Image.fromarray(overlay(image, mask, labels, 0.6)), (width, _LINE))
    font = ImageFont.load_default(size=12)
    text = f"{sample.name}  {sample.image.shape[1]} x {sample.image.shape[0]}"  # its font has no ×
    ImageDraw.Draw(canvas).text((2, _LINE / 2), text, fill=_INK, font=font, anchor="lm")
    return np.array(canvas, dtype=np.uint8)


def _grid(cells: list[npt.NDArray[np.uint8]], columns: int) -> npt.NDArray[np.uint8]:
    """Row by row; a row is as high as its highest cell."""
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    wide = columns * (cells[0].shape[1] + _GAP) + _GAP
    sheet = np.full((sum(heights) + _GAP * (len(rows) + 1), wide, 3), _PAPER, np.uint8)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for place, cell in enumerate(row):
            left = _GAP + place * (cell.shape[1] + _GAP)
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        top += height + _GAP
    return sheet
