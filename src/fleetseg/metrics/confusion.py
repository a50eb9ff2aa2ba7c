"""The integer confusion matrix that nearly every score is divided from."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fleetseg.metrics.scores import Counts, Floats, Scores

Mask = npt.NDArray[np.uint8]

#: Pixels whose codes are counted at a time: 512 KiB of codes stay in the second-level cache.
_BLOCK = 1 << 16


class ConfusionMatrix:
    """Pixel counts, rows = target, columns = prediction, in 64-bit integers.

    One more row and column than there are classes: the last row counts unlabelled pixels, the last column
    counts predictions that are none of the classes (some published networks predict "unlabelled").
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: Counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)

    def add(self, target: Mask, prediction: Mask) -> None:
        """Count one image or batch; both arrays have one shape. Values from num_classes on are "no class"."""
        if target.shape != prediction.shape:
            raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
        size = self.num_classes + 1
        rows, columns = target.reshape(-1), prediction.reshape(-1)
        codes = np.empty(min(_BLOCK, rows.size), np.intp)
        total = np.zeros(size * size, np.int64)
        for start in range(0, rows.size, _BLOCK):
            row, column = rows[start : start + _BLOCK], columns[start : start + _BLOCK]
            code = codes[: row.size]
            np.multiply(np.minimum(row, self.num_classes), size, out=code, dtype=np.intp)
            code += np.minimum(column, self.num_classes)
            total += np.bincount(code, minlength=size * size)
        self.counts += total.reshape(size, size)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add what another matrix over the same classes counted, perhaps in another process."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"matrices over {self.num_classes} and {other.num_classes} classes cannot be merged")
        self.counts += other.counts

    def scores(self, count_unlabelled: bool = False) -> Scores:
        """Divide once. `count_unlabelled` also counts predictions on unlabelled pixels as false positives."""
        return Scores.from_counts(self.counts, count_unlabelled)


def normalised(counts: Counts, by: Literal["target", "prediction"]) -> Floats:
    """Counts as shares 0–1 of their row (`by` target: each row sums to 1) or their column (prediction).

    A row or column that counts nothing is all NaN: there is nothing that it could be a share of.
    """
    sums = counts.sum(axis=1, keepdims=True) if by == "target" else counts.sum(axis=0, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / sums, np.float64)
