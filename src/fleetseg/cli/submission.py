"""``fleetseg submission``: archives for the servers of Cityscapes and PASCAL VOC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import track
from fleetseg.cli.evaluation_table import percent_text
from fleetseg.cli.evaluation_views import (
    FlipOption,
    OverlapOption,
    ResizeOption,
    ScalesOption,
    WindowOption,
    parse_views,
    size_rule,
)
from fleetseg.cli.options import (
    DataOption,
    EngineOption,
    ModelArgument,
    SizeOption,
    ThreadsOption,
    print_json,
)
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from fleetseg.submission import CityscapesScores

_HELP = """Predictions as the servers of Cityscapes and PASCAL VOC take them.

\b
Examples:
  fleetseg submission write cityscapes.onnx --format cityscapes --data cityscapes --out test.zip
  fleetseg submission write runs/voc --format voc --data VOCdevkit --out results.zip
  fleetseg submission check results.zip --format voc --data VOCdevkit
  fleetseg submission score val.zip --data cityscapes --split val
"""

_WRITE_HELP = """Predict a split and write the zip archive to upload; it is checked before it appears.

cityscapes: grey PNGs of label ids, CITY_SEQUENCE_FRAME_labelIds.png. voc: palette PNGs in
results/VOC2012/Segmentation/comp6_SPLIT_cls/.
"""

_CHECK_HELP = """Say what is wrong with a submission, a zip archive or a folder: a name, number, size, kind or value."""

_SCORE_HELP = """Score Cityscapes predictions (zip archive or folder of label-id PNGs) as the server would.

Class IoU and iIoU, category IoU and iIoU; the same numbers as cityscapesscripts'. The split needs labels.
"""

FormatOption = Annotated[str, typer.Option("--format", metavar="NAME", help="cityscapes or voc.")]
TestOption = Annotated[str, typer.Option("--split", metavar="NAME", help="Which part of the data set.")]
PathArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A zip archive or a folder of predictions.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result for programs.")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        help=_HELP, short_help="Archives for the benchmarks' servers.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("write", help=_WRITE_HELP, short_help="Predict a split into an archive.")(write)
    group.command("check", help=_CHECK_HELP, short_help="Say what a server would refuse.")(check)
    group.command("score", help=_SCORE_HELP, short_help="Score Cityscapes predictions before upload.")(score)
    app.add_typer(group, name="submission")


def write(
    model: ModelArgument,
    form: FormatOption,
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="The archive; replaced if it exists.")],
    split: TestOption = "test",
    size: SizeOption = None,
    resize: ResizeOption = None,
    scales: ScalesOption = None,
    flip: FlipOption = False,
    window: WindowOption = None,
    overlap: OverlapOption = 0.5,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the command."""
    from fleetseg.atomic import check_file_writable
    from fleetseg.data import open_dataset
    from fleetseg.runtime import load
    from fleetseg.runtime.test_time import ViewedModel
    from fleetseg.submission import format_named, write_submission

    wanted = format_named(form)
    views = parse_views(scales, flip, window, overlap)
    asked = use_network(own_network)
    network = load(model, engine, threads)
    check_network(asked, {model: network.metadata.network.name})
    view = ViewedModel(network, size_rule(network, size, resize), views)
    dataset = open_dataset(data, split)
    check_file_writable(out)
    count = write_submission(out, wanted, dataset, view.predict, network.classes, lambda r: track(r, "Predicting"))
    if as_json:
        print_json({"archive": str(out), "files": count})
    else:
        print(f"{out}: {_counted(count)}, checked")


def check(
    archive: PathArgument, form: FormatOption, data: DataOption, split: TestOption = "test", as_json: JsonFlag = False
) -> None:
    """Run the command."""
    from fleetseg.data import open_dataset
    from fleetseg.submission import check_submission, format_named

    wanted = format_named(form)
    count = check_submission(archive, wanted, open_dataset(data, split), lambda r: track(r, "Checking"))
    if as_json:
        print_json({"archive": str(archive), "files": count, "right": True})
    else:
        print(f"{archive}: {_counted(count)}, names, sizes and values are right")


def _counted(count: int) -> str:
    return f"{count} prediction{'' if count == 1 else 's'}"


def score(
    archive: PathArgument,
    data: DataOption,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="A part that has labels.")] = "val",
    as_json: JsonFlag = False,
) -> None:
    """Run the command."""
    from fleetseg.data import open_dataset
    from fleetseg.submission import score_cityscapes

    dataset = open_dataset(data, split)
    if dataset.name != "cityscapes":
        raise UsageError(f"{data}: is not Cityscapes (leftImg8bit/ and gtFine/), whose labels the score is taken from")
    scores = score_cityscapes(archive, dataset, lambda r: track(r, "Scoring"))
    if as_json:
        print_json(scores.as_json())
        return
    _print(scores)


def _print(scores: CityscapesScores) -> None:
    from rich.console import Console
    from rich.table import Table

    from fleetseg.evaluation.report import mean_of

    for heading, iou, iiou in (
        ("class", scores.class_iou, scores.class_iiou),
        ("category", scores.category_iou, scores.category_iiou),
    ):
        table = Table(heading, "IoU", "iIoU")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, value in iou.items():
            table.add_row(name, percent_text(value), percent_text(iiou.get(name, float("nan"))))
        table.add_section()
        table.add_row("mean", percent_text(mean_of(iou)), percent_text(mean_of(iiou)))
        Console().print(table)
