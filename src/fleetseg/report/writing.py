"""From a run's folder to its report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.atomic import write_text
from fleetseg.data import Dataset
from fleetseg.errors import UsageError
from fleetseg.evaluation import Evaluation, ImageScore, class_table, evaluate
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.pictures import comparison
from fleetseg.report.charts import svg
from fleetseg.report.curves import run_charts
from fleetseg.report.page import Picture, class_bars, confusion_table, facts, folded, page, percent, pictures, section
from fleetseg.report.slopes import slopes_by_depth, slopes_chart
from fleetseg.runtime import Model, load
from fleetseg.training.opened_splits import open_split
from fleetseg.training.run_folder import RunFolder
from fleetseg.training.run_summary import RunSummary, read_run

#: How many of the best and of the worst images are shown.
SHOWN = 3
#: Width at which pictures are kept, in pixels.
_PICTURE_WIDTH = 1200

#: Wraps a range of image numbers with a progress display.
Track = Callable[[range], Iterable[int]]


def write_report(folder: Path, data: str | None = None, track: Track = iter) -> Path:
    """Write ``report.html`` into a run's folder and return its path.

    Curves come from the history, the rest from the run's best weights (the newest, where none was measured yet) on
    the recipe's validation split of `data` (None: what it was trained on), at the recipe's size. Raises `UsageError`
    for a folder without a run or without weights, and what `open_dataset` raises if the data are gone.
    """
    run = read_run(folder)
    files = RunFolder(folder)
    weights = next((path for path in (files.best, files.last) if path.is_file()), None)
    if weights is None:
        raise UsageError(f"{folder}: the run has no weights yet; they appear after its first epoch")
    record = files.recorded_data()
    source = data if data is not None or record is None else record.data
    if source is None:
        raise UsageError(f"{folder}: does not say what it was trained on; give --data DIR")
    dataset = open_split(run.recipe, source, run.recipe.data.val_split)
    model = load(weights)
    result = evaluate(model, dataset, model.classes, indices=track(range(len(dataset))))
    path = folder / "report.html"
    write_text(path, _page(run, model, weights, source, dataset, result))
    return path


def _page(run: RunSummary, model: Model, weights: Path, source: str, dataset: Dataset, result: Evaluation) -> str:
    scores = result.scores
    network, metadata = load_checkpoint(weights)
    provenance = metadata.provenance
    state = "finished" if run.finished else f"epoch {len(run.epochs)} of {run.planned_epochs}"
    taken = f"{weights.name}: stage {provenance.get('stage')}, epoch {provenance.get('epoch')}"
    images = f"{len(dataset)} image{'' if len(dataset) == 1 else 's'} of the split '{dataset.split}'"
    slopes = slopes_by_depth(network)
    parts = [
        facts(
            [
                ("mIoU", percent(scores.miou)),
                ("class average accuracy", percent(scores.class_average_accuracy)),
                ("global accuracy", percent(scores.global_accuracy)),
                ("epochs", f"{len(run.epochs)} of {run.planned_epochs}"),
                ("hours", f"{run.hours:.1f}"),
            ]
        ),
        section("Training", *(svg(chart) for chart in run_charts(run))),
        section("Classes", class_bars(result), note=f"IoU in percent, {images}, {taken}"),
        section(
            "Confusion matrix",
            confusion_table(scores.counts, result.labels.names),
            note="Rows: labelled as; columns: predicted as; percent of the row.",
        ),
    ]
    if slopes:
        note = "As in ENet's Fig. 3: how much of a negative input each PReLU lets through, from image to logits."
        parts.append(section("PReLU slopes by depth", svg(slopes_chart(slopes)), note=note))
    parts += _image_sections(model, dataset, result)
    parts.append(section("Recipe", folded("recipe.yaml", run.recipe.to_yaml())))
    versions = ", ".join(f"{name} {provenance[name]}" for name in ("fleetseg", "torch", "python") if name in provenance)
    lead = f"{run.recipe.network.name} on {source}, {state}. {versions}. {metadata.licence}"
    return page(f"{run.folder.resolve().name}: {run.recipe.name}", lead, parts)


def _image_sections(model: Model, dataset: Dataset, result: Evaluation) -> list[str]:
    scored = [image for image in result.images if not math.isnan(image.miou)]
    worst = result.worst(SHOWN)
    best = [image for image in sorted(scored, key=lambda one: -one.miou)[:SHOWN] if image not in worst]
    return [
        section(f"{title} images", pictures([_picture(model, dataset, image) for image in chosen]))
        for title, chosen in (("Worst", worst), ("Best", best))
        if chosen
    ]


def _picture(model: Model, dataset: Dataset, image: ImageScore) -> Picture:
    sample = dataset[image.index]
    prediction = class_table(model.classes, dataset.labels)[model(sample.image)]
    text = f"{image.name}, mIoU {100 * image.miou:.1f}"
    return Picture(_jpeg(comparison(sample.image, sample.mask, prediction, dataset.labels, text)), text)


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    height, width = picture.shape[:2]
    if width > _PICTURE_WIDTH:
        size = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
