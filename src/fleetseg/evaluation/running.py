"""One pass over a split.

A predictor is any callable from an (H, W, 3) uint8 RGB image to an (H, W) uint8 mask, so that a network, a
compiled library or somebody else's code get their mIoU from the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset, HasInstances, Sample
from fleetseg.errors import UsageError
from fleetseg.evaluation.matching import Matching, match_classes
from fleetseg.evaluation.measures import Measures
from fleetseg.evaluation.report import Evaluation, ImageScore
from fleetseg.metrics import ConfusionMatrix, ImageCounts

Predictor = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]

#: A predictor that also says how probable its classes are: (H, W) uint8 and (H, W) float32.
ConfidentPredictor = Callable[[npt.NDArray[np.uint8]], tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]


def evaluate(
    predict: Predictor,
    dataset: Dataset,
    classes: Sequence[str],
    *,
    count_unlabelled: bool = False,
    indices: Iterable[int] | None = None,
    matching: Matching | None = None,
    measures: Measures | None = None,
    confident: ConfidentPredictor | None = None,
) -> Evaluation:
    """Run `predict`, whose mask values are positions in `classes`, over a data set (or `indices` of it).

    Classes are matched by name, never by number. Unlabelled pixels are ignored, and a prediction of no class
    on a labelled pixel is an error; `count_unlabelled` instead counts every prediction on an unlabelled pixel
    as a false positive, as the published ESPNet code does. `UsageError` if the classes are not the data
    set's.

    `matching` says otherwise which classes are scored (see `match_classes`); `measures` holds what is measured
    beside the confusion matrix. Calibration needs `confident`, which then takes the place of `predict`.
    """
    matching = matching or match_classes(classes, dataset.labels)
    measures = measures or Measures()
    if measures.calibration is not None and confident is None:
        raise ValueError("calibration is measured of a predictor that gives confidences; none is given")
    num_classes = matching.labels.num_classes
    total, images, rows, uncounted = ConfusionMatrix(num_classes), [], [], 0
    for index in indices if indices is not None else range(len(dataset)):
        sample = dataset[index]
        mask, confidence = confident(sample.image) if confident is not None else (predict(sample.image), None)
        target, prediction, skipped = matching.apply(sample.mask, _checked(mask, sample))
        one = ConfusionMatrix(num_classes)
        one.add(target, prediction)
        total.merge(one)
        measures.add(target, prediction, confidence, _instances(dataset, index) if measures.instances else None)
        scores = one.scores(count_unlabelled)
        images.append(ImageScore(index, sample.name, scores.miou, scores.global_accuracy))
        rows.append(scores.sums())
        uncounted += skipped
    counts = ImageCounts.of(rows, num_classes)
    scores = total.scores(count_unlabelled)
    return Evaluation(matching.labels, scores, tuple(images), counts, measures, uncounted)


def _checked(prediction: npt.NDArray[np.uint8], sample: Sample) -> npt.NDArray[np.uint8]:
    """The mask as it is; `UsageError` if it cannot be one of this sample."""
    if prediction.dtype != np.uint8 or prediction.shape != sample.mask.shape:
        raise UsageError(
            f"the prediction for {sample.name} has shape {prediction.shape} and type {prediction.dtype}; "
            f"a uint8 mask of shape {sample.mask.shape} is needed"
        )
    return prediction


def _instances(dataset: Dataset, index: int) -> npt.NDArray[np.int32]:
    if not isinstance(dataset, HasInstances):
        raise UsageError(
            f"{dataset.name} does not tell single objects apart, which iIoU needs; Cityscapes does (instanceIds)"
        )
    return dataset.instances(index)
