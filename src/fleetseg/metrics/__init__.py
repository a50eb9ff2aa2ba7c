"""Accuracy over a whole split: exact integer sums that are divided once; no averages over batches."""

from fleetseg.metrics.bootstrap import Interval, PairedTest, miou_interval, paired_test
from fleetseg.metrics.borders import Borders
from fleetseg.metrics.boundaries import BoundaryMatches, TrimapMatrices
from fleetseg.metrics.calibration import CalibrationBins
from fleetseg.metrics.categories import category_iou
from fleetseg.metrics.confusion import ConfusionMatrix, normalised
from fleetseg.metrics.image_counts import ImageCounts
from fleetseg.metrics.instances import InstanceSums
from fleetseg.metrics.scores import Scores

__all__ = [
    "Borders",
    "BoundaryMatches",
    "CalibrationBins",
    "ConfusionMatrix",
    "ImageCounts",
    "InstanceSums",
    "Interval",
    "PairedTest",
    "Scores",
    "TrimapMatrices",
    "category_iou",
    "miou_interval",
    "normalised",
    "paired_test",
]
