"""The pictures that ``fleetseg evaluate --out`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetseg.data import Dataset
    from fleetseg.evaluation import Evaluation, Matching
    from fleetseg.runtime.test_time import ViewedModel

#: How many of the worst images are shown.
WORST = 8


def write_pictures(result: Evaluation, dataset: Dataset, view: ViewedModel, matching: Matching, out: Path) -> None:
    """``confusion_matrix.png``, the same by prediction, and ``worst_01_NAME.png`` … in `out`."""
    from fleetseg.image import write_png
    from fleetseg.pictures import comparison, confusion_picture

    counts = result.scores.counts
    write_png(out / "confusion_matrix.png", confusion_picture(counts, result.labels))
    by_prediction = confusion_picture(counts, result.labels, "prediction")
    write_png(out / "confusion_matrix_by_prediction.png", by_prediction)
    shown = set()
    for rank, image in enumerate(result.worst(WORST), start=1):
        sample = dataset[image.index]
        target, prediction, _ = matching.apply(sample.mask, view.predict(sample.image))
        title = f"{image.name}, mIoU {100 * image.miou:.1f}"
        picture = comparison(sample.image, target, prediction, result.labels, title)
        shown.add(out / f"worst_{rank:02d}_{Path(image.name).name}.png")
        write_png(out / f"worst_{rank:02d}_{Path(image.name).name}.png", picture)
    # Those of an earlier evaluation would look as if they belonged to this one.
    for path in set(out.glob("worst_[0-9][0-9]_*.png")) - shown:
        path.unlink(missing_ok=True)
