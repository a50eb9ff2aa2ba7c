"""What is divided from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """All values are fractions 0–1.

    NaN marks what cannot be said: the IoU of a class that occurs neither in targets nor in predictions, the
    accuracy of a class that does not occur in the targets, the precision of one that is never predicted.
    """

    iou: Floats
    #: Accuracy of a class, in other words its recall.
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
        iou = iou_of_sums(hits, targets, predictions)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = hits / targets
        labelled = targets.sum()
        return cls(
            iou=iou,
            accuracy=accuracy,
            miou=mean_of_present(iou),
            class_average_accuracy=mean_of_present(accuracy),
            global_accuracy=float(hits.sum() / labelled) if labelled else float("nan"),
            counts=kept,
        )

    @property
    def precision(self) -> Floats:
        """(classes,) TP / predicted pixels."""
        hits, _, predictions = self.sums()
        with np.errstate(invalid="ignore"):
            return np.asarray(hits / predictions, np.float64)

    @property
    def frequency_weighted_iou(self) -> float:
        """Σ IoU · target pixels / all labelled pixels (Long et al. 2015, section 5)."""
        targets = self.sums()[1]
        labelled = int(targets.sum())
        return float(np.nansum(self.iou * targets)) / labelled if labelled else float("nan")

    def sums(self) -> Counts:
        """(3, classes): true positives, target pixels and predicted pixels, from which IoU is divided."""
        return np.stack([np.diag(self.counts)[:-1], self.counts.sum(axis=1)[:-1], self.counts.sum(axis=0)[:-1]])

    def absent(self) -> tuple[int, ...]:
        """Classes without an IoU, which the mean leaves out."""
        return tuple(int(class_id) for class_id in np.flatnonzero(np.isnan(self.iou)))


def iou_of_sums(hits: Floats, targets: Floats, predictions: Floats) -> Floats:
    """TP, target pixels and predicted pixels, all (…, classes) → IoU; NaN where a class occurs nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits / (targets + predictions - hits), np.float64)


def mean_of_present(values: Floats) -> float:
    """The mean of the values that are not NaN; NaN if none is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
