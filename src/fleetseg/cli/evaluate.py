"""``fleetseg evaluate``: measure a model on a split of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain, track
from fleetseg.cli.evaluation_pictures import write_pictures
from fleetseg.cli.evaluation_subject import Seen, Subject
from fleetseg.cli.evaluation_table import print_comparison, print_tables
from fleetseg.cli.evaluation_views import (
    FlipOption,
    OverlapOption,
    ResizeOption,
    ScalesOption,
    WindowOption,
    parse_views,
)
from fleetseg.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    JsonFileOption,
    ModelArgument,
    SizeOption,
    SplitOption,
    ThreadsOption,
    print_json,
    write_json,
)
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from fleetseg.data import Dataset
    from fleetseg.evaluation import Choice, Evaluation, Matching

_HELP = """Measure a model on a split: one confusion matrix over all its images.

Prints IoU and accuracy of each class, mIoU, class average and global accuracy. Unlabelled pixels are ignored;
a prediction of no class on a labelled pixel is an error. Classes are matched by name, or merged by --map.
docs/evaluation.md says what each metric is.

\b
Metrics (--metric NAME, several with commas or repeated; all: every one that the data allow):
  precision    precision by class and frequency-weighted IoU
  category     IoU of categories (--categories)
  iiou         instance-weighted IoU, where the data have instances
  boundary     boundary F1            trimap  mIoU in bands around the borders
  calibration  expected calibration error
  interval     95% confidence interval of mIoU over images
  images       every image's scores, in --json

\b
Examples:
  fleetseg evaluate enet-camvid --data CamVid --split val --metric interval,boundary
  fleetseg evaluate enet-camvid --data CamVid --against espnet-camvid
  fleetseg evaluate cityscapes.onnx --data mapillary --map cityscapes-categories
  fleetseg evaluate cityscapes.onnx --data cityscapes --resize half --scales 0.75,1,1.25 --flip
  fleetseg evaluate enet-camvid --data scenes:200 --json scenes.json --out report
"""

ListOption = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", help=_HELP, short_help="Measure a model on a split of a data set.")(evaluate)


def evaluate(
    model: ModelArgument,
    data: DataOption,
    split: SplitOption = "val",
    metric: Annotated[ListOption, typer.Option("--metric", metavar="NAME", help="Measure this too; see above.")] = None,
    ignore: Annotated[
        ListOption, typer.Option("--ignore", metavar="CLASS", help="Do not score pixels labelled as this; repeatable.")
    ] = None,
    merged_by: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="NAME|FILE",
            help="Score these groups instead of the classes: camvid, cityscapes, cityscapes-categories, "
            "cityscapes-categories-wide, or a YAML file of groups.",
        ),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option("--categories", metavar="NAME|FILE", help="Also score these groups; names and files as in --map."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="Also measure this model and test the difference."),
    ] = None,
    json: JsonFileOption = None,
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
    resize: ResizeOption = None,
    score_at: Annotated[
        str,
        typer.Option(
            "--score-at",
            metavar="full|network",
            help="Score at the labels' full size, or shrink the labels to what the network sees.",
        ),
    ] = "full",
    scales: ScalesOption = None,
    flip: FlipOption = False,
    window: WindowOption = None,
    overlap: OverlapOption = 0.5,
    engine: EngineOption = "own",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
) -> None:
    """Run the command."""
    from fleetseg.data import open_dataset
    from fleetseg.evaluation import Choice

    names = [name.strip() for words in metric or () for name in words.split(",") if name.strip()]
    choice = Choice(names, tuple(ignore or ()), merged_by, categories)
    _check_choice(choice)
    how = Seen(size, resize, score_at, parse_views(scales, flip, window, overlap))
    asked = use_network(own_network)
    subjects = [Subject.load(name, engine, threads, how, device) for name in (model, against) if name is not None]
    check_network(asked, {subject.name: subject.network.metadata.network.name for subject in subjects})
    dataset = open_dataset(data, split)
    matchings = [_matching(choice, subject, dataset, f"{data} {split}") for subject in subjects]
    to_stdout = str(json) == "-"
    check_outputs(None if to_stdout else json, out)
    results = [
        _measure(subject, dataset, matching, choice, count_unlabelled)
        for subject, matching in zip(subjects, matchings, strict=True)
    ]
    if not results[0].scores.counts[:-1].any():
        raise DataError(f"{data} {split}: no pixel has a label that is scored; a split with labels is needed")
    figures = _figures(subjects, results, choice, dataset)
    if to_stdout:
        print_json(figures)
    else:
        counted = ", unlabelled pixels counted" if count_unlabelled else ""
        for subject, result in zip(subjects, results, strict=True):
            print(f"{subject.name} on {data} {split}: {_images(len(dataset))}, {subject.network.engine}{counted}")
            print_tables(result, choice.wanted(dataset, result.labels))
        if against is not None:
            print_comparison(model, against, results[0].compared(results[1]))
    if json is not None and not to_stdout:
        write_json(json, figures)
    if out is not None:
        write_pictures(results[0], subjects[0].scored(dataset), subjects[0].view, matchings[0], out)
        complain(f"pictures of the confusion matrix and the worst images are in {out}")


def _check_choice(choice: Choice) -> None:
    """What is wrong whatever the network and the data are, before either is opened."""
    from fleetseg.evaluation import check_metrics, read_grouping
    from fleetseg.evaluation.choosing import ALL

    check_metrics([name for name in choice.metrics if name != ALL])
    for groups in (choice.merged_by, choice.categories):
        if groups:
            read_grouping(groups)


def _matching(choice: Choice, subject: Subject, dataset: Dataset, where: str) -> Matching:
    """`UsageError` that names model and data unless the classes can be matched."""
    if subject.shrink is not None and "iiou" in choice.metrics:
        raise UsageError("--metric iiou with --score-at network: instances are scored at their full size only")
    try:
        return choice.matching(subject.network.classes, dataset.labels)
    except UnknownNameError:
        raise
    except UsageError as error:
        hint = "" if choice.merged_by else " (--map merges classes of both into common ones)"
        raise UsageError(f"{subject.name} does not fit {where}: {error}{hint}") from error


def _measure(
    subject: Subject, dataset: Dataset, matching: Matching, choice: Choice, count_unlabelled: bool
) -> Evaluation:
    from fleetseg.evaluation import evaluate as run

    scored = subject.scored(dataset)
    measures = choice.measures(choice.wanted(scored, matching.labels), matching.labels)
    return run(
        subject.view.predict,
        scored,
        subject.network.classes,
        count_unlabelled=count_unlabelled,
        indices=track(range(len(scored)), f"Evaluating {subject.name}"),
        matching=matching,
        measures=measures,
        confident=subject.view.predict_with_confidence if measures.calibration is not None else None,
    )


def _figures(subjects: list[Subject], results: list[Evaluation], choice: Choice, dataset: Dataset) -> dict[str, object]:
    """The first model's figures; with a second model also its own and their difference."""
    each = [
        result.as_json(subject.name, subject.network.engine, choice.wanted(dataset, result.labels))
        for subject, result in zip(subjects, results, strict=True)
    ]
    if len(each) == 1:
        return each[0]
    return each[0] | {"against": each[1], "comparison": results[0].compared(results[1]).as_json()}


def check_outputs(json: Path | None, out: Path | None) -> None:
    """Fail before the first image rather than after the last."""
    from fleetseg.atomic import check_file_writable, check_writable

    if json is not None:
        check_file_writable(json)
    if out is not None:
        check_writable(out)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
