"""Training augmentation on NumPy arrays: random scale and crop, horizontal flip, colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.labels import IGNORE_INDEX

#: Fills what a crop shows beyond the image: about the mean colour, so that it normalises to about zero.
BORDER_COLOUR = (124, 116, 104)

#: Below this scale several pixels of the image make one of the result.
AVERAGE_BELOW = 0.8


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each sample and in which range.

    size: (width, height) of the result.
    scale: factor range applied to the image, drawn uniformly in its logarithm.
    flip: probability of a horizontal flip.
    colour: strength of brightness, contrast, saturation and tint changes; 0 is off, 0.3 is usual.
    balance: probability of a crop around a pixel of a class drawn from those of the image, each as likely.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    colour: float = 0.0
    balance: float = 0.0

    def __call__(
        self, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """(H, W, 3) and (H, W) of any size → the same of `size`; all randomness is drawn from `rng`."""
        placed, mask = self.placed(image, mask, rng)
        return self.recoloured(placed, rng), mask

    def placed(
        self, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """The first half: what is where in the result, in the image's own colours."""
        scale = float(np.exp(rng.uniform(*np.log(self.scale))))
        balanced = self.balance > 0 and rng.random() < self.balance
        focus = pixel_of_random_class(mask, rng) if balanced else None
        image, mask = scaled_crop(image, mask, self.size, scale, rng, focus)
        if rng.random() < self.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)

    def recoloured(self, image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """The second half: `image` with its colours changed, or itself."""
        return jitter_colour(image, self.colour, rng) if self.colour > 0 else image


def scaled_crop(
    image: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    size: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    focus: tuple[int, int] | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Scale by `scale` and cut a random window of `size` (W, H); an affine warp computes the window alone.

    Beyond the image: the border colour and unlabelled. The pixel `focus` (column, row) is inside.
    """
    column, row = focus or (None, None)
    left = rng.uniform(*_window_starts(image.shape[1], size[0], scale, column))
    top = rng.uniform(*_window_starts(image.shape[0], size[1], scale, row))
    if scale == 1.0:
        left, top = round(left), round(top)  # whole pixels: no interpolation, labels and image stay exact
    offset = scale / 2 - 0.5
    matrix = np.array([[scale, 0, offset - left], [0, scale, offset - top]], np.float64)
    source, source_matrix = image, matrix
    if scale < AVERAGE_BELOW and min(image.shape[:2]) * scale >= 1:
        # A linear warp skips pixels when it shrinks: average first.
        smaller = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        source = np.asarray(smaller, np.uint8)
        source_matrix = np.array([[1, 0, -left], [0, 1, -top]], np.float64)
    warped = _warp(source, source_matrix, size, cv2.INTER_LINEAR, BORDER_COLOUR)
    warped_mask = _warp(mask, matrix, size, cv2.INTER_NEAREST, (IGNORE_INDEX,))
    return warped, warped_mask


def _window_starts(length: int, window: int, scale: float, focus: int | None) -> tuple[float, float]:
    """Between which numbers a window may start on an axis; a shorter image lies anywhere inside the window."""
    room = length * scale - window
    first, last = min(room, 0.0), max(room, 0.0)
    if focus is None:
        return first, last
    place = (focus + 0.5) * scale
    return min(max(first, place + 0.5 - window), last), max(min(last, place - 0.5), first)


def pixel_of_random_class(mask: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int] | None:
    """(column, row) of a pixel of a class that occurs in the mask, every class as likely; None if none does."""
    classes = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE_INDEX])
    if not classes.size:
        return None
    places = np.flatnonzero(mask.ravel() == rng.choice(classes))
    row, column = divmod(int(rng.choice(places)), mask.shape[1])
    return column, row


def paste_rectangle(
    sample: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]],
    other: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]],
    rng: np.random.Generator,
) -> None:
    """Write a random rectangle of `other`, image and labels, into `sample` of the same size, at the same place.

    A tenth to a half of the area, its shape up to twice as wide or as high as the sample's: CutMix (Yun et al., arXiv
    1905.04899) as it serves segmentation (French et al., arXiv 1906.01916).
    """
    height, width = sample[1].shape
    area, stretch = rng.uniform(0.1, 0.5), np.exp(rng.uniform(-np.log(2), np.log(2)))
    rows = min(height, max(1, round(height * np.sqrt(area / stretch))))
    columns = min(width, max(1, round(width * np.sqrt(area * stretch))))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    for ours, theirs in zip(sample, other, strict=True):
        ours[top : top + rows, left : left + columns] = theirs[top : top + rows, left : left + columns]


def _warp(
    source: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    size: tuple[int, int],
    interpolation: int,
    border: tuple[int, ...],
) -> npt.NDArray[np.uint8]:
    result = cv2.warpAffine(
        source, matrix, size, flags=interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return np.asarray(result, np.uint8)


def jitter_colour(image: npt.NDArray[np.uint8], strength: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Saturation, then one look-up table a channel for contrast, brightness, gamma and tint."""
    saturation = 1 + strength * rng.uniform(-1, 1)
    grey = cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(np.ascontiguousarray(image), saturation, grey, 1 - saturation, 0)
    contrast = 1 + strength * rng.uniform(-1, 1)
    brightness = 0.5 * strength * rng.uniform(-1, 1)
    gamma = np.exp(strength * rng.uniform(-1, 1))
    tint = 1 + 0.3 * strength * rng.uniform(-1, 1, 3)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    table = ((levels - 0.45) * contrast + 0.45 + brightness) * tint
    lookup = np.clip(np.rint(table * 255), 0, 255).astype(np.uint8)[:, None, :]
    return np.asarray(cv2.LUT(mixed, lookup), np.uint8)
