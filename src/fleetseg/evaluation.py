"""Predictor and data set in, report out: one confusion matrix over the whole split.

A predictor is any callable from an (H, W, 3) uint8 RGB image to an (H, W) uint8 mask, so that a network, a
compiled library or somebody else's code get their mIoU from the same lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset, Sample
from fleetseg.errors import UsageError
from fleetseg.labels import LabelSet
from fleetseg.metrics import ConfusionMatrix, Scores

Predictor = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]

#: Names under which networks predict "no class".
NO_CLASS_NAMES = frozenset({"unlabelled", "unlabeled", "void", "ignore", "background void"})


@dataclass(frozen=True)
class ImageScore:
    """How well one image was labelled."""

    index: int
    name: str
    #: Mean IoU over the classes that occur in this image or its prediction; NaN for an image without labels.
    miou: float


@dataclass(frozen=True)
class Evaluation:
    """The result over a split."""

    labels: LabelSet
    scores: Scores
    images: tuple[ImageScore, ...]

    def worst(self, count: int) -> list[ImageScore]:
        """The images with the lowest mIoU, worst first; images without labels are left out."""
        scored = [image for image in self.images if not math.isnan(image.miou)]
        return sorted(scored, key=lambda image: image.miou)[:count]

    def as_json(self, model: str, engine: str) -> dict[str, Any]:
        """Percentages as 0–100 numbers, None where a class occurs nowhere.

        `confusion_matrix` has a row a target class and a column a predicted class, and a last row (unlabelled
        pixels) and column (predictions that are no class) only if they count something.
        """
        scores = self.scores
        used = len(self.labels.names)
        if scores.counts[-1].any() or scores.counts[:, -1].any():
            used += 1
        return {
            "model": model,
            "engine": engine,
            "images": len(self.images),
            "miou": percent(scores.miou),
            "class_average_accuracy": percent(scores.class_average_accuracy),
            "global_accuracy": percent(scores.global_accuracy),
            "class_iou": self._by_class(scores.iou),
            "class_accuracy": self._by_class(scores.accuracy),
            "confusion_matrix": scores.counts[:used, :used].tolist(),
        }

    def _by_class(self, values: Sequence[float] | npt.NDArray[np.float64]) -> dict[str, float | None]:
        return {name: percent(float(value)) for name, value in zip(self.labels.names, values, strict=True)}


def percent(fraction: float) -> float | None:
    """0–1 → 0–100 rounded to four places; None for NaN."""
    return None if math.isnan(fraction) else round(100 * fraction, 4)


def evaluate(
    predict: Predictor,
    dataset: Dataset,
    classes: Sequence[str],
    *,
    count_unlabelled: bool = False,
    indices: Iterable[int] | None = None,
) -> Evaluation:
    """Run `predict`, whose mask values are positions in `classes`, over a data set (or `indices` of it).

    Classes are matched by name, never by number. Unlabelled pixels are ignored, and a prediction of no class
    on a labelled pixel is an error; `count_unlabelled` instead counts every prediction on an unlabelled pixel
    as a false positive, as the published ESPNet code does. `UsageError` if the classes are not the data
    set's.
    """
    table = class_table(classes, dataset.labels)
    total = ConfusionMatrix(dataset.labels.num_classes)
    images = []
    for index in indices if indices is not None else range(len(dataset)):
        sample = dataset[index]
        one = ConfusionMatrix(dataset.labels.num_classes)
        one.add(sample.mask, table[_checked(predict(sample.image), sample)])
        total.counts += one.counts
        images.append(ImageScore(index, sample.name, one.scores(count_unlabelled).miou))
    return Evaluation(dataset.labels, total.scores(count_unlabelled), tuple(images))


def _checked(prediction: npt.NDArray[np.uint8], sample: Sample) -> npt.NDArray[np.uint8]:
    """The mask as it is; `UsageError` if it cannot be one of this sample."""
    if prediction.dtype != np.uint8 or prediction.shape != sample.mask.shape:
        raise UsageError(
            f"the prediction for {sample.name} has shape {prediction.shape} and type {prediction.dtype}; "
            f"a uint8 mask of shape {sample.mask.shape} is needed"
        )
    return prediction


def class_table(classes: Sequence[str], labels: LabelSet) -> npt.NDArray[np.uint8]:
    """(256,) uint8 look-up table from a network's class numbers to the data set's; "no class" becomes 255.

    Upper and lower case count only where they tell two of the data set's classes apart.
    """
    numbers = {_key(name, labels): number for number, name in enumerate(labels.names)}
    table = np.full(256, 255, np.uint8)
    for position, name in enumerate(classes):
        key = _key(name, labels)
        if key in numbers:
            table[position] = numbers.pop(key)
        elif name.lower() not in NO_CLASS_NAMES:
            raise UsageError(
                f"the network predicts the class '{name}', which the data set does not have; "
                f"its classes are {', '.join(labels.names)}"
            )
    if numbers:
        missing = labels.names[min(numbers.values())]
        raise UsageError(
            f"the data set has the class '{missing}', which the network does not predict; "
            f"its classes are {', '.join(classes)}"
        )
    return table


def _key(name: str, labels: LabelSet) -> str:
    lower = name.lower()
    ambiguous = sum(other.lower() == lower for other in labels.names) > 1
    return name if ambiguous else lower
