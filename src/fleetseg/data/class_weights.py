"""How much each class counts in the loss, from how many pixels it has.

Three weightings are in use for street scenes, where a road has a hundred times the pixels of a cyclist. With
``n_k`` the pixels of class k, ``N`` the labelled pixels of all classes and ``p_k = n_k / N``:

=========== ========================================================================================
``enet``    ``1 / ln(c + p_k)``, never above ``1 / ln c``; c is 1.02 in the paper (ENet, arXiv 1606.02147)
``inverse`` ``N / (P · n_k)`` with P the number of classes that have pixels; averages 1 over the pixels
``median``  ``median(f) / f_k``: f_k is n_k over the labelled pixels of the images that class k occurs in,
            the median is over the classes that have pixels (Eigen and Fergus, arXiv 1411.4734)
``none``    1
=========== ========================================================================================

Unlabelled pixels are in no count. A class without pixels gets the limit ``1 / ln c`` under ``enet``; under
``inverse`` and ``median`` it gets the largest weight of the classes that have pixels, being at least as
rare as the rarest. Without any labelled pixel these two give 1 for every class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fleetseg.data.joined import mask_of
from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetseg.data.base import Dataset

#: The weightings that `class_weights` knows.
METHODS = ("enet", "inverse", "median", "none")

#: The constant of ENet's paper.
ENET_C = 1.02


@dataclass(frozen=True)
class ClassStatistics:
    """Pixel counts of a data set, by class id, unlabelled pixels left out."""

    #: (C,) int64: pixels of the class.
    pixels: npt.NDArray[np.int64]
    #: (C,) int64: labelled pixels, of whatever class, in the images that the class occurs in.
    present_image_pixels: npt.NDArray[np.int64]


def mask_pixel_counts(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(H, W) uint8 → (256,) int64: how often each value occurs."""
    return np.bincount(mask.ravel(), minlength=256).astype(np.int64)


def statistics_of_counts(counts: Iterable[npt.NDArray[np.int64]], num_classes: int) -> ClassStatistics:
    """Sum the `mask_pixel_counts` of single images; values from `num_classes` up are not counted."""
    pixels = np.zeros(num_classes, np.int64)
    present_image_pixels = np.zeros(num_classes, np.int64)
    for image_counts in counts:
        labelled = image_counts[:num_classes]
        pixels += labelled
        present_image_pixels[labelled > 0] += labelled.sum()
    return ClassStatistics(pixels, present_image_pixels)


def class_statistics(dataset: Dataset) -> ClassStatistics:
    """Count the pixels of every class over all samples.

    Raises `DataError` naming the sample whose mask holds a value that is neither a class id nor 255.
    """
    num_classes = dataset.labels.num_classes
    counts = (_checked_counts(dataset, index, num_classes) for index in range(len(dataset)))
    return statistics_of_counts(counts, num_classes)


def class_pixel_counts(dataset: Dataset) -> npt.NDArray[np.int64]:
    """(C,) int64: pixels of every class over all samples, unlabelled ones left out."""
    return class_statistics(dataset).pixels


def _checked_counts(dataset: Dataset, index: int, num_classes: int) -> npt.NDArray[np.int64]:
    counts = mask_pixel_counts(mask_of(dataset, index))
    strangers = np.flatnonzero(counts[num_classes:IGNORE_INDEX]) + num_classes
    if strangers.size:
        raise DataError(
            f"{dataset[index].name}: its mask holds the value {strangers[0]}, which is neither a class (0 to "
            f"{num_classes - 1}) nor {IGNORE_INDEX} for unlabelled"
        )
    return counts


def class_weights(statistics: ClassStatistics, method: str, c: float = ENET_C) -> npt.NDArray[np.float32]:
    """(C,) float32 weights by the formula `method` of this module's table; `c` is used by ``enet`` alone.

    Raises `UnknownNameError` for another method and `UsageError` for a c that is not above 1.
    """
    if method not in METHODS:
        raise UnknownNameError("class weighting", method, METHODS)
    if method == "none":
        return np.ones(len(statistics.pixels), np.float32)
    if method == "enet":
        return _enet_weights(statistics.pixels, c)
    if method == "inverse":
        return _inverse_weights(statistics.pixels)
    return _median_weights(statistics)


def _enet_weights(pixels: npt.NDArray[np.int64], c: float) -> npt.NDArray[np.float32]:
    if not c > 1 or not np.isfinite(c):
        raise UsageError(
            f"c of the class weights 1/ln(c+p) is {c}; it has to be above 1 (1.02 is the paper's), or the "
            f"weight of a rare class has no bound"
        )
    share = pixels / max(int(pixels.sum()), 1)
    return (1.0 / np.log(c + share)).astype(np.float32)


def _inverse_weights(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    present = pixels > 0
    weights = np.ones(len(pixels))
    weights[present] = pixels.sum() / (present.sum() * pixels[present])
    return _with_absent_classes(weights, present)


def _median_weights(statistics: ClassStatistics) -> npt.NDArray[np.float32]:
    present = statistics.pixels > 0
    weights = np.ones(len(present))
    if present.any():
        frequency = statistics.pixels[present] / statistics.present_image_pixels[present]
        weights[present] = np.median(frequency) / frequency
    return _with_absent_classes(weights, present)


def _with_absent_classes(weights: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    if present.any():
        weights[~present] = weights[present].max()
    return weights.astype(np.float32)
