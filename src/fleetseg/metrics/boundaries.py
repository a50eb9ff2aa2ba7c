"""Scores near the borders between classes, where small decoders lose.

Where a label's borders are says `borders`. Only labelled pixels are scored, apart from what lies closer to one than
the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.metrics.borders import Borders, edges
from fleetseg.metrics.confusion import ConfusionMatrix
from fleetseg.metrics.nearness import MOST, ClassPixels, nearer_than
from fleetseg.metrics.scores import Counts, Floats, mean_of_present

Mask = npt.NDArray[np.uint8]

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

    def add(self, target: Mask, prediction: Mask, borders: Borders | None = None) -> None:
        """Count one image; (H, W) class ids, values from num_classes on are no class.

        `borders` are the target's, if they were found before.
        """
        borders = borders or Borders.of(target, self.num_classes)
        if borders is None:
            return
        tolerance = TOLERANCE * math.hypot(*target.shape)
        wanted = ClassPixels(borders.edges, borders.filled, self.num_classes)
        found = ClassPixels(edges(prediction), prediction, self.num_classes)
        for row, one, other in ((0, wanted, found), (2, found, wanted)):
            scored = borders.distance.reshape(-1)[one.positions] <= tolerance
            self.counts[row] += np.bincount(one.classes[scored], minlength=self.num_classes)
            scored &= one.near(other, tolerance)
            self.counts[row + 1] += np.bincount(one.classes[scored], minlength=self.num_classes)

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
        """`widths` ascend, from 1 to 64 pixels at most."""
        if list(widths) != sorted(set(widths)) or not 1 <= min(widths) <= max(widths) <= MOST:
            raise ValueError(f"widths of bands ascend from 1 to {MOST} pixels at most; got {tuple(widths)}")
        self.matrices = {width: ConfusionMatrix(num_classes) for width in widths}
        self.num_classes = num_classes

    def add(self, target: Mask, prediction: Mask, borders: Borders | None = None) -> None:
        """Count one image; arguments as in `BoundaryMatches.add`."""
        borders = borders or Borders.of(target, self.num_classes)
        if borders is None:
            return
        inner = np.zeros(target.shape, np.bool_)
        total = ConfusionMatrix(self.num_classes)
        for width, matrix in self.matrices.items():
            # A band holds the narrower ones, whose pixels were counted.
            band = nearer_than(width, borders.edges)
            fresh = np.flatnonzero(band & ~inner)
            total.add(target.reshape(-1)[fresh], prediction.reshape(-1)[fresh])
            matrix.merge(total)
            inner = band

    def merge(self, other: TrimapMatrices) -> None:
        """Add another process's images, measured in the same bands."""
        for width, matrix in self.matrices.items():
            matrix.merge(other.matrices[width])

    def miou(self) -> dict[int, float]:
        """mIoU by width of the band."""
        return {width: matrix.scores().miou for width, matrix in self.matrices.items()}
