"""What is counted while images pass, beside the confusion matrix: only what was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetseg.errors import UnknownNameError
from fleetseg.labels import LabelSet
from fleetseg.metrics import Borders, BoundaryMatches, CalibrationBins, InstanceSums, TrimapMatrices

#: What ``--metric`` may name, and what each adds to the figures that are always given.
METRICS: Mapping[str, str] = {
    "iou": "IoU and accuracy by class (always given)",
    "precision": "precision by class and frequency-weighted IoU",
    "category": "IoU of categories of classes",
    "iiou": "instance-weighted IoU of Cityscapes",
    "boundary": "boundary F1",
    "trimap": "mIoU in bands around the borders",
    "calibration": "expected calibration error",
    "interval": "confidence interval of mIoU over images",
    "images": "the scores of every image",
}


def check_metrics(names: Collection[str]) -> frozenset[str]:
    """The names as a set, "iou" always in it; `UnknownNameError` for one that is none."""
    for name in names:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS)
    return frozenset(names) | {"iou"}


@dataclass
class Measures:
    """Accumulators of the metrics that a pass over a split was asked for; None where it was not."""

    boundary: BoundaryMatches | None = None
    trimap: TrimapMatrices | None = None
    calibration: CalibrationBins | None = None
    instances: InstanceSums | None = None
    #: Category → its classes' ids, in order.
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        metrics: Collection[str],
        labels: LabelSet,
        categories: Mapping[str, tuple[int, ...]],
        mean_sizes: Mapping[int, float],
    ) -> Measures:
        """Fresh accumulators over the scored classes."""
        count = labels.num_classes
        return cls(
            BoundaryMatches(count) if "boundary" in metrics else None,
            TrimapMatrices(count) if "trimap" in metrics else None,
            CalibrationBins(count) if "calibration" in metrics else None,
            InstanceSums(mean_sizes, tuple(categories.values())) if "iiou" in metrics else None,
            categories,
        )

    def add(
        self,
        target: npt.NDArray[np.uint8],
        prediction: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.float32] | None,
        instances: npt.NDArray[np.int32] | None,
    ) -> None:
        """Count one image; confidence is there if calibration is measured, instances if iIoU is."""
        at_borders = [measure for measure in (self.boundary, self.trimap) if measure is not None]
        borders = Borders.of(target, at_borders[0].num_classes) if at_borders else None
        for measure in at_borders:
            measure.add(target, prediction, borders)
        if self.calibration is not None and confidence is not None:
            self.calibration.add(target, prediction, confidence)
        if self.instances is not None and instances is not None:
            self.instances.add(instances, target, prediction)
