"""IoU of groups of classes: a mistake within a group is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleetseg.metrics.scores import Counts, Floats, iou_of_sums


def category_iou(counts: Counts, categories: Sequence[Sequence[int]]) -> Floats:
    """(categories,) IoU from a `ConfusionMatrix`'s counts and each category's class ids (Cityscapes' rule).

    TP: pixels of the category's classes predicted as any of them; FN: their other pixels, those predicted as no
    class too; FP: labelled pixels of other classes predicted as one of them. Unlabelled pixels (the last row)
    do not count. NaN for a category that occurs nowhere.
    """
    sums = [category_sums(counts, list(classes)) for classes in categories]
    hits, targets, predictions = np.array(sums, np.float64).reshape(-1, 3).T
    return iou_of_sums(hits, targets, predictions)


def category_sums(counts: Counts, classes: list[int]) -> tuple[int, int, int]:
    """True positives, target pixels and pixels predicted, of the classes together."""
    labelled = counts[:-1]
    return int(labelled[classes][:, classes].sum()), int(labelled[classes].sum()), int(labelled[:, classes].sum())
