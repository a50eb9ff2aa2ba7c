"""``fleetseg evaluate``: measure a model on a split of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain, track
from fleetseg.cli.options import (
    DataOption,
    EngineOption,
    ModelArgument,
    SizeOption,
    SplitOption,
    ThreadsOption,
    parse_size,
    print_json,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from fleetseg.data import Dataset
    from fleetseg.evaluation import Evaluation, Predictor
    from fleetseg.labels import LabelSet

_HELP = """Measure a model on a split: one confusion matrix over all its images.

Prints IoU and accuracy of each class, mIoU, class average and global accuracy. Unlabelled pixels are ignored;
a prediction of no class on a labelled pixel is an error. Classes are matched by name.

\b
Examples:
  fleetseg evaluate enet-camvid --data CamVid --split val
  fleetseg evaluate enet-camvid --data scenes:200 --json scenes.json --out report
  fleetseg evaluate espnet_p_2_q_8_camvid.pth --data CamVid --count-unlabelled
"""

#: How many of the worst images --out shows.
WORST = 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", help=_HELP, short_help="Measure a model on a split of a data set.")(evaluate)


def evaluate(
    model: ModelArgument,
    data: DataOption,
    split: SplitOption = "val",
    json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write the figures as JSON; - for stdout."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write the confusion matrix and the worst images as pictures."),
    ] = None,
    count_unlabelled: Annotated[
        bool,
        typer.Option(
            "--count-unlabelled",
            help="Count predictions on unlabelled pixels as errors, as the published ESPNet code does.",
        ),
    ] = False,
    size: SizeOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Run the command."""
    from fleetseg.data import open_dataset
    from fleetseg.evaluation import evaluate as run
    from fleetseg.runtime import load

    seen = parse_size(size) if size else None
    to_stdout = str(json) == "-"
    network = load(model, engine, threads)
    dataset = open_dataset(data, split)

    def predict(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return network.predict(image, seen)

    check_classes(network.classes, dataset.labels, model, f"{data} {split}")
    check_outputs(None if to_stdout else json, out)
    indices = track(range(len(dataset)), "Evaluating")
    result = run(predict, dataset, network.classes, count_unlabelled=count_unlabelled, indices=indices)
    figures = result.as_json(model, network.engine)
    if to_stdout:
        print_json(figures)
    else:
        counted = ", unlabelled pixels counted" if count_unlabelled else ""
        print(f"{model} on {data} {split}: {_images(len(dataset))}, {network.engine}{counted}")
        print_table(result)
    if json is not None and not to_stdout:
        write_json(json, figures)
    if out is not None:
        write_pictures(result, dataset, predict, network.classes, out)
        complain(f"pictures of the confusion matrix and the worst images are in {out}")


def check_classes(classes: Sequence[str], labels: LabelSet, model: str, data: str) -> None:
    """`UsageError` that names model and data unless the classes are the same."""
    from fleetseg.errors import UsageError
    from fleetseg.evaluation import class_table

    try:
        class_table(classes, labels)
    except UsageError as error:
        raise UsageError(f"{model} does not fit {data}: {error}") from error


def check_outputs(json: Path | None, out: Path | None) -> None:
    """Fail before the first image rather than after the last."""
    from fleetseg.atomic import check_writable

    for folder in (json.parent if json else None, out):
        if folder is not None:
            check_writable(folder)


def print_table(result: Evaluation) -> None:
    """A row a class, then the means."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    scores = result.scores
    table = Table("class", "IoU", "accuracy")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, iou, accuracy in zip(result.labels.names, scores.iou, scores.accuracy, strict=True):
        table.add_row(Text(name), _percent(iou), _percent(accuracy))
    table.add_section()
    table.add_row("mean", _percent(scores.miou), _percent(scores.class_average_accuracy))
    Console().print(table)
    print(
        f"mIoU {_percent(scores.miou)}   class average accuracy {_percent(scores.class_average_accuracy)}   "
        f"global accuracy {_percent(scores.global_accuracy)}"
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _percent(fraction: float) -> str:
    return "–" if fraction != fraction else f"{100 * fraction:.2f}"


def write_pictures(
    result: Evaluation, dataset: Dataset, predict: Predictor, classes: tuple[str, ...], out: Path
) -> None:
    """``confusion_matrix.png`` and ``worst_01_NAME.png`` … in `out`."""
    from fleetseg.evaluation import class_table
    from fleetseg.image import write_png
    from fleetseg.pictures import comparison, confusion_picture

    write_png(out / "confusion_matrix.png", confusion_picture(result.scores.counts, result.labels))
    table = class_table(classes, dataset.labels)
    for rank, image in enumerate(result.worst(WORST), start=1):
        sample = dataset[image.index]
        picture = comparison(
            sample.image,
            sample.mask,
            table[predict(sample.image)],
            dataset.labels,
            f"{image.name}, mIoU {100 * image.miou:.1f}",
        )
        write_png(out / f"worst_{rank:02d}_{Path(image.name).name}.png", picture)
