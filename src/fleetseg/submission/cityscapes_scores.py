"""Cityscapes' official scores of predictions as files, over label ids as its own evaluation counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset, HasInstances
from fleetseg.data.label_tables import cityscapes_table, rows
from fleetseg.data.listing import read_mask
from fleetseg.errors import DataError
from fleetseg.evaluation.cityscapes_sizes import MEAN_SIZES
from fleetseg.evaluation.report import mean_of, percent
from fleetseg.labels import IGNORE_INDEX
from fleetseg.metrics import ConfusionMatrix, InstanceSums, category_iou
from fleetseg.submission.checking import image_size, paths_of, submitted_names
from fleetseg.submission.formats import format_named

#: Ids 0 to 33 have a place in label images.
NUM_IDS = 34

_EXPECTED = "predictions hold Cityscapes' label ids 0 to 33"


@dataclass(frozen=True)
class CityscapesScores:
    """Fractions; NaN where a class or category occurs nowhere, and for iIoU where there are no instances."""

    class_iou: dict[str, float]
    class_iiou: dict[str, float]
    category_iou: dict[str, float]
    category_iiou: dict[str, float]
    images: int

    def as_json(self) -> dict[str, object]:
        """Per cent, with means over what has a value."""
        figures: dict[str, object] = {"images": self.images}
        for name in ("class_iou", "class_iiou", "category_iou", "category_iiou"):
            values: dict[str, float] = getattr(self, name)
            each = {key: percent(value) for key, value in values.items()}
            figures[name] = {"mean": percent(mean_of(values)), "each": each}
        return figures


class CityscapesCounts:
    """The sums behind the scores; what Cityscapes ignores is ignored in labels, and an error in predictions."""

    def __init__(self) -> None:
        self._matrix = ConfusionMatrix(NUM_IDS)
        names = {int(row["id"]): row["name"] for row in rows("cityscapes")}
        sizes = {label: MEAN_SIZES[names[label]] for label in range(NUM_IDS) if names[label] in MEAN_SIZES}
        # A category's instances may be predicted as any of its labels, those that are ignored elsewhere too.
        self._categories = _labels_of_categories(evaluated_only=False)
        self._instances = InstanceSums(sizes, tuple(self._categories.values()))
        self._images = 0

    def add(
        self,
        label_ids: npt.NDArray[np.uint8],
        instances: npt.NDArray[np.int32] | None,
        prediction: npt.NDArray[np.uint8],
    ) -> None:
        """Count one image: label ids, objects (1000 · id + number, 0 elsewhere), predicted label ids; all (H, W)."""
        self._matrix.add(_evaluated()[label_ids], prediction)
        if instances is not None:
            own = np.minimum(instances // 1000, IGNORE_INDEX).astype(np.uint8)
            self._instances.add(instances, _evaluated()[own], prediction)
        self._images += 1

    def scores(self) -> CityscapesScores:
        """Divide once."""
        names = {int(row["id"]): row["name"] for row in rows("cityscapes")}
        counts = self._matrix.counts
        evaluated = _labels_of_categories(evaluated_only=True)
        iou = self._matrix.scores().iou
        iiou = self._instances.class_iiou(counts)
        by_category = category_iou(counts, tuple(evaluated.values()))
        by_instance = self._instances.category_iiou(counts)
        scored = [label for labels in evaluated.values() for label in labels]
        return CityscapesScores(
            {names[label]: float(iou[label]) for label in scored},
            {names[label]: iiou[label] for label in scored if label in iiou},
            dict(zip(evaluated, by_category.tolist(), strict=True)),
            dict(zip(self._categories, by_instance.tolist(), strict=True)),
            self._images,
        )


def score_cityscapes(
    path: str | Path, dataset: Dataset, progress: Callable[[range], Iterable[int]] = iter
) -> CityscapesScores:
    """Score a folder or archive of predictions against a split of Cityscapes with labels (train or val).

    The data set tells its label files (`paths`), which are read as ids, and objects (`HasInstances`). `DataError`
    for files that are missing, too many, of another size or with values that are no label id.
    """
    files, names = submitted_names(path, format_named("cityscapes"), dataset)
    counts = CityscapesCounts()
    for index in progress(range(len(dataset))):
        prediction, _ = files.read(names[index], image_size(dataset, index))
        if prediction.max(initial=0) >= NUM_IDS:
            row, column = np.argwhere(prediction >= NUM_IDS)[0]
            raise DataError(
                f"{files.where(names[index])}: the value {prediction[row, column]} at row {row}, column {column} is "
                f"no label; {_EXPECTED}"
            )
        image, label = paths_of(dataset, index)
        if image == label:
            raise DataError(f"{image}: has no label to score against; the server alone has those of {dataset.split}")
        instances = dataset.instances(index) if isinstance(dataset, HasInstances) else None
        counts.add(read_mask(label), instances, prediction)
    return counts.scores()


@cache
def _evaluated() -> npt.NDArray[np.uint8]:
    """(256,): a label id itself if it is evaluated, else 255."""
    table = np.arange(256, dtype=np.uint8)
    table[(cityscapes_table() < 0) | (cityscapes_table() == IGNORE_INDEX)] = IGNORE_INDEX
    return table


def _labels_of_categories(evaluated_only: bool) -> dict[str, tuple[int, ...]]:
    """The seven categories' label ids, those with a place in label images."""
    members: dict[str, tuple[int, ...]] = {}
    for row in rows("cityscapes"):
        if row["category"] != "void" and int(row["id"]) >= 0 and not (evaluated_only and row["ignored"] == "yes"):
            members[row["category"]] = (*members.get(row["category"], ()), int(row["id"]))
    return members
