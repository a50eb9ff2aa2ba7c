"""Scores near the borders between classes, where small decoders lose.

A label's border is looked for after every unlabelled pixel took the class of the nearest labelled one: PASCAL VOC
leaves all borders unlabelled, so there would be none otherwise. Only labelled pixels are scored, apart from what
lies closer to one than the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.metrics.confusion import ConfusionMatrix
from fleetseg.metrics.scores import Counts, Floats, mean_of_present

Mask = npt.NDArray[np.uint8]
Where = npt.NDArray[np.bool_]

#: Share of an image's diagonal by which two borders may be apart and still match (Csurka et al. 2013).
TOLERANCE = 0.0075

#: Half-widths in pixels of the bands around borders in which IoU is measured.
WIDTHS = (1, 2, 4, 8, 16)


class BoundaryMatches:
    """Border pixels of each class, and how many of them lie near the other mask's border of that class.

    Sums over the whole split, so that an image counts by the length of its borders. Csurka et al. average over
    images instead, which gives a class's few pixels in one image as much weight as a street of them.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        #: Rows: target border pixels, those found, predicted border pixels, those right; a column a class.
        self.counts: Counts = np.zeros((4, num_classes), np.int64)

    def add(self, target: Mask, prediction: Mask) -> None:
        """Count one image; (H, W) class ids, values from num_classes on are no class."""
        if not (target < self.num_classes).any():
            return
        tolerance = TOLERANCE * math.hypot(*target.shape)
        filled, distance = filled_and_distance(target, self.num_classes)
        near = distance <= tolerance
        target_edges, predicted_edges = edges(filled), edges(prediction)
        present = np.union1d(filled[target_edges], prediction[predicted_edges])
        for class_id in present[present < self.num_classes]:
            wanted, found = target_edges & (filled == class_id), predicted_edges & (prediction == class_id)
            part = _surroundings(wanted | found, math.ceil(tolerance))
            wanted, found, close = wanted[part], found[part], near[part]
            self.counts[:, class_id] += [
                np.count_nonzero(wanted & close),
                np.count_nonzero(wanted & close & (distance_to(found) <= tolerance)),
                np.count_nonzero(found & close),
                np.count_nonzero(found & close & (distance_to(wanted) <= tolerance)),
            ]

    def merge(self, other: BoundaryMatches) -> None:
        """Add another process's images."""
        self.counts += other.counts

    def f1(self) -> Floats:
        """(classes,) harmonic mean of found and right shares; NaN for a class without borders on either side."""
        wanted, found, predicted, right = self.counts.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, precision = found / wanted, right / predicted
            both = 2 * recall * precision / (recall + precision)
        return np.where(wanted + predicted == 0, np.nan, np.nan_to_num(both))

    def mean_f1(self) -> float:
        """Mean over the classes that have borders."""
        return mean_of_present(self.f1())


class TrimapMatrices:
    """A confusion matrix for each band around the labels' borders (Krähenbühl & Koltun 2011, section 4).

    A band of width w holds the w pixels on either side of a border.
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = WIDTHS) -> None:
        self.matrices = {width: ConfusionMatrix(num_classes) for width in widths}
        self._num_classes = num_classes

    def add(self, target: Mask, prediction: Mask) -> None:
        """Count one image; class ids as in `BoundaryMatches.add`."""
        if not (target < self._num_classes).any():
            return
        filled, _ = filled_and_distance(target, self._num_classes)
        distance = distance_to(edges(filled))
        for width, matrix in self.matrices.items():
            band = distance < width
            matrix.add(target[band], prediction[band])

    def merge(self, other: TrimapMatrices) -> None:
        """Add another process's images, measured in the same bands."""
        for width, matrix in self.matrices.items():
            matrix.merge(other.matrices[width])

    def miou(self) -> dict[int, float]:
        """mIoU by width of the band."""
        return {width: matrix.scores().miou for width, matrix in self.matrices.items()}


def filled_and_distance(target: Mask, num_classes: int) -> tuple[Mask, npt.NDArray[np.float32]]:
    """The mask with unlabelled pixels given the nearest labelled one's class, and how far away that is."""
    unlabelled = (target >= num_classes).astype(np.uint8)
    if not unlabelled.any():
        return target, np.zeros(target.shape, np.float32)
    distance, nearest = cv2.distanceTransformWithLabels(unlabelled, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    classes = np.zeros(int(nearest.max()) + 1, np.uint8)
    labelled = unlabelled == 0
    classes[nearest[labelled]] = target[labelled]
    return classes[nearest], np.asarray(distance, np.float32)


def edges(mask: Mask) -> Where:
    """(H, W) bool: pixels of which one of the four neighbours has another value."""
    found = np.zeros(mask.shape, np.bool_)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def _surroundings(where: Where, margin: int) -> tuple[slice, slice]:
    """The part of an image that holds all true pixels and a margin: most classes are in a small one."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def distance_to(where: Where) -> npt.NDArray[np.float32]:
    """(H, W) float32: Euclidean distance of each pixel to the nearest one that is true; infinite if none is."""
    if not where.any():
        return np.full(where.shape, np.inf, np.float32)
    zeros = np.logical_not(where).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(zeros, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
