"""Each image's share of the sums behind IoU: what scores by image and resampling over images need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleetseg.metrics.scores import Counts, Floats, iou_of_sums


@dataclass(frozen=True)
class ImageCounts:
    """True positives, target pixels and predicted pixels of each class in each image.

    A whole matrix an image would be num_classes / 3 times as much.
    """

    #: (images, 3, classes) int64.
    sums: Counts

    @classmethod
    def of(cls, rows: Sequence[Counts], num_classes: int) -> ImageCounts:
        """From each image's `Scores.sums`, in order."""
        return cls(np.array(rows, np.int64).reshape(len(rows), 3, num_classes))

    def __len__(self) -> int:
        return len(self.sums)

    def iou(self) -> Floats:
        """(images, classes): IoU of each class in each image, NaN where it is in neither label nor prediction."""
        return iou_of(self.sums.astype(np.float64))

    def flat(self) -> Floats:
        """(images, 3 · classes) float64, exact below 2^53, for products with weights of the images."""
        return self.sums.reshape(len(self), -1).astype(np.float64)


def iou_of(sums: Floats) -> Floats:
    """(…, 3, classes) → (…, classes) IoU."""
    return iou_of_sums(sums[..., 0, :], sums[..., 1, :], sums[..., 2, :])
