"""Instance-weighted IoU (iIoU) of Cityscapes: small objects count as much as large ones.

TP and FN of each instance are weighted by (mean size of the class's instances) / (size of this instance); FP are
those of IoU, because a prediction of classes has no instances (Cordts et al. 2016, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.metrics.categories import category_sums
from fleetseg.metrics.scores import Counts, Floats

Mask = npt.NDArray[np.uint8]


class InstanceSums:
    """Size and found pixels of every instance: integers, divided at the end and so in any order.

    `mean_sizes` holds the mean instance size (pixels) of each class that has instances; `categories` lists the
    class ids of each category, of which only those are scored whose classes all have instances.
    """

    def __init__(self, mean_sizes: Mapping[int, float], categories: Sequence[Sequence[int]] = ()) -> None:
        self.mean_sizes = dict(mean_sizes)
        self.categories = [tuple(classes) for classes in categories]
        self._category_of = np.full(256, 255, np.uint8)
        for number, classes in enumerate(self.categories):
            self._category_of[list(classes)] = number
        self._records: list[Counts] = []

    def add(self, instances: npt.NDArray[np.integer], classes: Mask, prediction: Mask) -> None:
        """Count one image, all (H, W): a number above 0 for each object's pixels, their classes, and predictions.

        Objects of a class without a mean size are passed over.
        """
        where = instances > 0
        wanted, predicted = classes[where], prediction[where]
        ids, numbers, size = np.unique(instances[where], return_inverse=True, return_counts=True)
        category = self._category_of[wanted]
        same = (category == self._category_of[predicted]) & (category != 255)
        hit = np.bincount(numbers[predicted == wanted], minlength=len(ids))
        in_category = np.bincount(numbers[same], minlength=len(ids))
        class_of = np.zeros(len(ids), np.int64)
        class_of[numbers] = wanted
        scored = np.isin(class_of, list(self.mean_sizes))
        self._records.append(np.stack([class_of, size, hit, in_category], axis=1)[scored])

    def merge(self, other: InstanceSums) -> None:
        """Add another process's instances."""
        self._records += other._records

    def records(self) -> Counts:
        """(instances, 4): class, pixels, pixels of the right class, pixels of the right category."""
        return np.concatenate([np.zeros((0, 4), np.int64), *self._records])

    def class_iiou(self, counts: Counts) -> dict[int, float]:
        """By class with instances, from these and the confusion matrix's counts; NaN if it occurs nowhere."""
        records, scores = self.records(), {}
        for class_id in self.mean_sizes:
            hits, _, predicted = category_sums(counts, [class_id])
            scores[class_id] = self._weighted(records[records[:, 0] == class_id], 2, predicted - hits)
        return scores

    def category_iiou(self, counts: Counts) -> Floats:
        """(categories,): NaN for one that occurs nowhere or whose classes do not all have instances."""
        records, scores = self.records(), []
        for classes in self.categories:
            if not all(class_id in self.mean_sizes for class_id in classes):
                scores.append(float("nan"))
                continue
            hits, _, predicted = category_sums(counts, list(classes))
            scores.append(self._weighted(records[np.isin(records[:, 0], classes)], 3, predicted - hits))
        return np.array(scores, np.float64)

    def _weighted(self, records: Counts, column: int, false_positives: int) -> float:
        sizes = [self.mean_sizes[int(class_id)] for class_id in records[:, 0]]
        shares = records[:, column] / records[:, 1]
        found = math.fsum(size * share for size, share in zip(sizes, shares, strict=True))
        lost = math.fsum(size * (1 - share) for size, share in zip(sizes, shares, strict=True))
        whole = found + false_positives + lost
        return found / whole if whole else float("nan")
