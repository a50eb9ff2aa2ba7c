"""Whether a network is right as often as it says: expected calibration error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetseg.metrics.scores import Counts, Floats

BINS = 15

#: Confidences are summed as whole multiples of 1/65535, so that sums are exact and do not depend on their order.
_UNIT = 65535


class CalibrationBins:
    """Labelled pixels by the confidence of their prediction, in equal bins (Guo et al. 2017, section 2)."""

    def __init__(self, num_classes: int, bins: int = BINS) -> None:
        self.num_classes = num_classes
        self.pixels: Counts = np.zeros(bins, np.int64)
        self.hits: Counts = np.zeros(bins, np.int64)
        self._confidence: Counts = np.zeros(bins, np.int64)

    def add(
        self, target: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], confidence: npt.NDArray[np.float32]
    ) -> None:
        """Count one image: class ids, and the probability 0–1 of the predicted class, all of one shape."""
        labelled = target < self.num_classes
        units = np.rint(confidence[labelled].astype(np.float64) * _UNIT).astype(np.int64)
        # A confidence on a bin's edge belongs to the bin below it: (0, 1/15], (1/15, 2/15] …
        bins = np.clip((units * len(self.pixels) - 1) // _UNIT, 0, len(self.pixels) - 1)
        right = target[labelled] == prediction[labelled]
        self.pixels += np.bincount(bins, minlength=len(self.pixels))
        self.hits += np.bincount(bins[right], minlength=len(self.pixels))
        np.add.at(self._confidence, bins, units)

    def merge(self, other: CalibrationBins) -> None:
        """Add another process's pixels."""
        self.pixels += other.pixels
        self.hits += other.hits
        self._confidence += other._confidence

    def accuracy(self) -> Floats:
        """(bins,) share of right pixels; NaN for an empty bin."""
        return _divided(self.hits, self.pixels)

    def confidence(self) -> Floats:
        """(bins,) mean confidence; NaN for an empty bin."""
        return _divided(self._confidence, self.pixels * _UNIT)

    def error(self) -> float:
        """Σ over bins of share of pixels · |accuracy − confidence|; NaN without labelled pixels."""
        total = int(self.pixels.sum())
        if not total:
            return float("nan")
        gaps = np.abs(self.accuracy() - self.confidence())
        return float(np.nansum(gaps * self.pixels) / total)


def _divided(part: Counts, whole: Counts) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(part / whole, np.float64)
