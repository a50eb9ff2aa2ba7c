"""The result over a split, and the JSON that says it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetseg.evaluation.measures import Measures
from fleetseg.labels import LabelSet
from fleetseg.metrics import (
    CalibrationBins,
    ImageCounts,
    Interval,
    PairedTest,
    Scores,
    category_iou,
    miou_interval,
    paired_test,
)
from fleetseg.metrics.scores import mean_of_present


@dataclass(frozen=True)
class ImageScore:
    """How well one image was labelled."""

    index: int
    name: str
    #: Mean IoU over the classes that occur in this image or its prediction; NaN for an image without labels.
    miou: float
    global_accuracy: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """How two models differ on the same images."""

    test: PairedTest

    def as_json(self) -> dict[str, Any]:
        """Difference of mIoU (first less second) in percentage points, its interval, p-value."""
        difference = self.test.difference
        return {
            "miou_difference": percent(difference.value),
            "interval": interval_json(difference),
            "p_value": round(self.test.p_value, 6),
            "images": self.test.images,
        }


@dataclass(frozen=True)
class Evaluation:
    """The result over a split."""

    labels: LabelSet
    scores: Scores
    images: tuple[ImageScore, ...]
    counts: ImageCounts
    measures: Measures
    #: Labelled pixels left out because the network's class there has no counterpart.
    uncounted: int = 0

    def worst(self, count: int) -> list[ImageScore]:
        """The images with the lowest mIoU, worst first; images without labels are left out."""
        scored = [image for image in self.images if not math.isnan(image.miou)]
        return sorted(scored, key=lambda image: image.miou)[:count]

    def interval(self) -> Interval:
        """mIoU with its 95% bootstrap interval over images."""
        return miou_interval(self.counts)

    def compared(self, other: Evaluation) -> Comparison:
        """This one's mIoU less another's on the same images and classes."""
        return Comparison(paired_test(self.counts, other.counts))

    def category_iou(self) -> dict[str, float]:
        """IoU by category, in the categories' order."""
        groups = self.measures.categories
        values = category_iou(self.scores.counts, tuple(groups.values()))
        return {name: float(value) for name, value in zip(groups, values, strict=True)}

    def class_iiou(self) -> dict[str, float]:
        """iIoU by class with instances; empty if it was not measured."""
        if self.measures.instances is None:
            return {}
        values = self.measures.instances.class_iiou(self.scores.counts)
        return {self.labels.names[class_id]: value for class_id, value in values.items()}

    def category_iiou(self) -> dict[str, float]:
        """iIoU by category, NaN for those that have none; empty if it was not measured."""
        if self.measures.instances is None:
            return {}
        values = self.measures.instances.category_iiou(self.scores.counts)
        return {name: float(value) for name, value in zip(self.measures.categories, values, strict=True)}

    def as_json(self, model: str, engine: str, metrics: Iterable[str] = ()) -> dict[str, Any]:
        """Percentages as 0–100 numbers, None where a class occurs nowhere.

        `confusion_matrix` has a row a target class and a column a predicted class, and a last row (unlabelled
        pixels) and column (predictions that are no class) only if they count something. `metrics` adds
        "interval" and "images"; what else was measured is there in any case.
        """
        scores = self.scores
        used = len(self.labels.names)
        if scores.counts[-1].any() or scores.counts[:, -1].any():
            used += 1
        figures = {
            "model": model,
            "engine": engine,
            "images": len(self.images),
            "miou": percent(scores.miou),
            "class_average_accuracy": percent(scores.class_average_accuracy),
            "global_accuracy": percent(scores.global_accuracy),
            "frequency_weighted_iou": percent(scores.frequency_weighted_iou),
            "class_iou": self._by_class(scores.iou),
            "class_accuracy": self._by_class(scores.accuracy),
            "class_precision": self._by_class(scores.precision),
            "absent_classes": [self.labels.names[class_id] for class_id in scores.absent()],
            "confusion_matrix": scores.counts[:used, :used].tolist(),
        }
        if self.uncounted:
            figures["uncounted_pixels"] = self.uncounted
        return figures | self._measured() | self._asked(frozenset(metrics))

    def _measured(self) -> dict[str, Any]:
        measures, figures = self.measures, {}
        if measures.categories:
            figures["category_iou"] = _with_mean(self.category_iou())
        if measures.instances is not None:
            figures["class_iiou"] = _with_mean(self.class_iiou())
            figures["category_iiou"] = _with_mean(self.category_iiou())
        if measures.boundary is not None:
            by_class = dict(zip(self.labels.names, measures.boundary.f1().tolist(), strict=True))
            figures["boundary_f1"] = _with_mean(by_class)
        if measures.trimap is not None:
            figures["trimap_miou"] = {str(width): percent(miou) for width, miou in measures.trimap.miou().items()}
        if measures.calibration is not None:
            figures["calibration"] = _calibration(measures.calibration)
        return figures

    def _asked(self, metrics: frozenset[str]) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        if "interval" in metrics:
            figures["miou_interval"] = interval_json(self.interval())
        if "images" in metrics:
            figures["per_image"] = [
                {"name": image.name, "miou": percent(image.miou), "global_accuracy": percent(image.global_accuracy)}
                | {"class_iou": self._by_class(iou)}
                for image, iou in zip(self.images, self.counts.iou(), strict=True)
            ]
        return figures

    def _by_class(self, values: Iterable[float]) -> dict[str, float | None]:
        return {name: percent(float(value)) for name, value in zip(self.labels.names, values, strict=True)}


def percent(fraction: float) -> float | None:
    """0–1 → 0–100 rounded to four places; None for NaN."""
    return None if math.isnan(fraction) else round(100 * fraction, 4)


def interval_json(interval: Interval) -> dict[str, float | None]:
    """Both ends in per cent, and the level."""
    return {"low": percent(interval.low), "high": percent(interval.high), "level": round(100 * interval.level)}


def mean_of(values: dict[str, float]) -> float:
    """The mean over those that have a value."""
    return mean_of_present(np.array(list(values.values()), np.float64))


def _with_mean(values: dict[str, float]) -> dict[str, Any]:
    return {"mean": percent(mean_of(values)), "each": {name: percent(value) for name, value in values.items()}}


def _calibration(bins: CalibrationBins) -> dict[str, Any]:
    accuracy, confidence = bins.accuracy(), bins.confidence()
    return {
        "expected_error": percent(bins.error()),
        "bins": [
            {"pixels": int(pixels), "confidence": percent(float(sure)), "accuracy": percent(float(right))}
            for pixels, sure, right in zip(bins.pixels, confidence, accuracy, strict=True)
        ],
    }
