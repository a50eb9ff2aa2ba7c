"""A constant added to each class's logit so that mIoU becomes highest (logit adjustment, arXiv 2007.07314, for mIoU).

Class weights make rare classes learnable and, by the same means, predicted too often. What to add in order to undo just
as much of that as mIoU wants is measured here, on images with labels, instead of being derived from the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.metrics.scores import iou_of_sums

Logits = npt.NDArray[np.float32]
Targets = npt.NDArray[np.uint8]

#: A class's shift is sought between −LIMIT and LIMIT.
LIMIT, _STEP = 3.0, 0.05
#: Rounds over all classes; each only ever improves mIoU, and three or four are usual.
_MOST_ROUNDS = 20
#: A round that gains less than this ends the search.
_LEAST_GAIN = 1e-5


def best_shifts(logits: Logits, targets: Targets) -> Logits:
    """(pixels, classes) logits and (pixels,) targets below classes → (classes,) what to add, with mean zero.

    Coordinate ascent on mIoU over the classes that occur in `targets`: for one class after the other the confusion
    matrices of all its shifts are counted at once, and the best is kept.
    """
    classes = logits.shape[1]
    grid = np.arange(-LIMIT, LIMIT + _STEP / 2, _STEP, dtype=np.float32)
    shifts, best = np.zeros(classes, np.float32), miou(logits, targets, np.zeros(classes, np.float32))
    for _ in range(_MOST_ROUNDS):
        before = best
        for one in range(classes):
            scores = _miou_along(logits + shifts, targets, one, grid - shifts[one])
            if scores.max() > best + 1e-9:
                best = float(scores.max())
                shifts[one] = _middle_of_best(grid, scores)
        if best - before < _LEAST_GAIN:
            break
    return np.asarray(shifts - shifts.mean(), np.float32)


def miou(logits: Logits, targets: Targets, shifts: Logits) -> float:
    """Mean IoU, 0–1, of the classes that occur in `targets`."""
    classes = logits.shape[1]
    codes = targets.astype(np.intp) * classes + (logits + shifts).argmax(axis=1)
    counts = np.bincount(codes, minlength=classes * classes).reshape(classes, classes)
    return float(_miou_of(np.diag(counts)[None], counts.sum(1)[None], counts.sum(0)[None])[0])


def _miou_along(logits: Logits, targets: Targets, one: int, steps: Logits) -> npt.NDArray[np.float64]:
    """mIoU for each of the ascending `steps`, were it added to the logits of class `one`."""
    classes, number = logits.shape[1], len(steps)
    others = logits.copy()
    others[:, one] = -np.inf
    second = others.argmax(axis=1)
    needed = np.take_along_axis(others, second[:, None], axis=1)[:, 0] - logits[:, one]
    # The first step from which on a pixel is of class `one`; of equal logits the lower number wins, as in arg-max.
    turns = np.searchsorted(steps, needed, side="right")
    turns = np.where((needed == steps[np.minimum(turns - 1, number - 1)]) & (one < second), turns - 1, turns)
    codes = (turns * classes + second) * classes + targets
    moved = np.bincount(codes, minlength=(number + 1) * classes * classes).reshape(number + 1, classes, classes)
    gone = moved.cumsum(axis=0)[:number]  # (steps, second best class, target): pixels that are of class `one` by then
    kept = moved.sum(axis=0)[None] - gone
    hits = np.diagonal(kept, axis1=1, axis2=2).copy()
    hits[:, one] = gone[:, :, one].sum(axis=1)
    predicted = kept.sum(axis=2)
    predicted[:, one] = gone.sum(axis=(1, 2))
    wanted = np.broadcast_to(moved.sum(axis=(0, 1)), hits.shape)
    return _miou_of(hits, wanted, predicted)


def _miou_of(
    hits: npt.NDArray[Any], targets: npt.NDArray[Any], predictions: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """(n, classes) counts → (n,) means over the classes with targets."""
    present = targets[0] > 0
    iou = iou_of_sums(hits[:, present].astype(float), targets[:, present], predictions[:, present])
    return np.asarray(iou.mean(axis=1), np.float64)


def _middle_of_best(grid: Logits, scores: npt.NDArray[np.float64]) -> np.float32:
    """The middle of the first stretch of best values: as far as possible from where it gets worse."""
    ends = np.flatnonzero(scores == scores.max())
    stretch = ends[: 1 + int(np.argmax(np.append(np.diff(ends), 2) > 1))]
    return np.float32(grid[stretch[len(stretch) // 2]])
