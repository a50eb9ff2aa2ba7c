"""Accuracy over a whole split from one integer confusion matrix; no per-batch averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Pixel counts, rows = target, columns = prediction, in 64-bit integers.

    One more row and column than there are classes: the last row counts unlabelled pixels, the last column
    counts predictions that are none of the classes (some published networks predict "unlabelled").
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: Counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)

    def add(self, target: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]) -> None:
        """Count one image or batch; both arrays have one shape. Values from num_classes on are "no class"."""
        if target.shape != prediction.shape:
            raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
        size = self.num_classes + 1
        rows = np.minimum(target.ravel(), self.num_classes).astype(np.int64)
        columns = np.minimum(prediction.ravel(), self.num_classes).astype(np.int64)
        self.counts += np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)

    def scores(self, count_unlabelled: bool = False) -> Scores:
        """Divide once. `count_unlabelled` also counts predictions on unlabelled pixels as false positives."""
        return Scores.from_counts(self.counts, count_unlabelled)


@dataclass(frozen=True)
class Scores:
    """All values are fractions 0–1.

    NaN marks what cannot be said: the IoU of a class that occurs neither in targets nor in predictions, the
    accuracy of a class that does not occur in the targets.
    """

    iou: Floats
    accuracy: Floats
    miou: float
    class_average_accuracy: float
    global_accuracy: float
    counts: Counts

    @classmethod
    def from_counts(cls, counts: Counts, count_unlabelled: bool = False) -> Scores:
        """`counts` as in `ConfusionMatrix`.

        IoU = TP / (TP + FP + FN); class accuracy = TP / target pixels; mIoU and class average are means over
        the classes that have a value; global accuracy = all TP / all labelled pixels.
        """
        kept = counts.copy()
        if not count_unlabelled:
            kept[-1] = 0
        hits = np.diag(kept)[:-1].astype(np.float64)
        targets = kept.sum(axis=1)[:-1].astype(np.float64)
        predictions = kept.sum(axis=0)[:-1].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = hits / (targets + predictions - hits)
            accuracy = hits / targets
        labelled = targets.sum()
        return cls(
            iou=iou,
            accuracy=accuracy,
            miou=_mean(iou),
            class_average_accuracy=_mean(accuracy),
            global_accuracy=float(hits.sum() / labelled) if labelled else float("nan"),
            counts=kept,
        )


def _mean(values: Floats) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
