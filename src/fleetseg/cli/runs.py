"""``fleetseg runs``: training runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import complain
from fleetseg.cli.options import JsonFileOption, print_json, write_json

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fleetseg.training.run_summary import RunSummary

_HELP = """Compare the training runs in a folder: a table, best validation mIoU first.

DIR is searched with all folders inside; runs that are still training are listed too, one whose files are broken is
named and left out. The last column shows in which keys of the recipe the runs differ.

\b
Examples:
  fleetseg runs runs
  fleetseg runs runs --plot runs.png
  fleetseg runs runs --json -
"""

#: Columns from which whole keys fit.
_WIDE = 120
#: How many differing keys the table shows of a run; --json has all.
_SHOWN_KEYS = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("runs", help=_HELP, short_help="Compare training runs in a table and a plot.")(runs)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with training runs in it.")],
    json: JsonFileOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Also draw mIoU over epochs and hours (PNG).")
    ] = None,
) -> int:
    """Run the command; 1 if a run could not be read."""
    from fleetseg.training.run_summary import differences, find_runs

    if plot is not None:
        check_plot(plot)
    found, broken = find_runs(folder)
    for error in broken:
        complain(str(error))
    if not found:
        return 1
    found.sort(key=lambda run: -(run.best.miou or 0.0) if run.best else 1.0)
    differing = differences(found)
    figures = [_figures(run, keys) for run, keys in zip(found, differing, strict=True)]
    if str(json) == "-":
        print_json(figures)
    else:
        _print_table(found, differing, folder)
    if json is not None and str(json) != "-":
        write_json(json, figures)
    if plot is not None:
        from fleetseg.training.run_plot import plot_runs

        plot_runs(found, plot)
        complain(f"the plot is {plot}")
    return 1 if broken else 0


def check_plot(plot: Path) -> None:
    """`UsageError` unless the name ends in .png, `MissingExtraError` without matplotlib."""
    import importlib.util

    from fleetseg.errors import MissingExtraError, UsageError

    if plot.suffix.lower() != ".png":
        raise UsageError(f"--plot {plot}: the plot is a PNG file; give a name that ends in .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("drawing the plot", "train")


def _figures(run: RunSummary, keys: dict[str, Any]) -> dict[str, Any]:
    best = run.best
    return {
        "run": str(run.folder),
        "recipe": run.recipe.name,
        "network": run.recipe.network.name,
        "finished": run.finished,
        "epochs": len(run.epochs),
        "planned_epochs": run.planned_epochs,
        "hours": round(run.hours, 4),
        "miou": best.miou if best else None,
        "best_stage": best.stage if best else None,
        "best_epoch": best.number if best else None,
        "loss": run.epochs[-1].loss if run.epochs else None,
        "differs": keys,
    }


def _print_table(found: Sequence[RunSummary], differing: Sequence[dict[str, Any]], root: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "network", "mIoU", "best at", "epochs", "hours", "loss")
    table.add_column("differs in", overflow="fold")
    console = Console()
    every = {key for keys in differing for key in keys}
    names = _endings(every) if console.width < _WIDE else {key: key for key in every}
    for column in (2, 4, 5, 6):
        table.columns[column].justify = "right"
    for run, keys in zip(found, differing, strict=True):
        best = run.best
        folder = str(run.folder.relative_to(root)) if run.folder != root else run.folder.resolve().name
        table.add_row(
            Text(folder),
            run.recipe.network.name,
            f"{best.miou:.2f}" if best else "–",
            f"{best.stage} {best.number}" if best else "–",
            f"{len(run.epochs)}" if run.finished else f"{len(run.epochs)}/{run.planned_epochs}",
            f"{run.hours:.2f}",
            f"{run.epochs[-1].loss:.3f}" if run.epochs else "–",
            Text(_short({names[key]: value for key, value in keys.items()})),
        )
    console.print(table)


def _endings(keys: Collection[str]) -> dict[str, str]:
    """Dotted keys → the shortest endings that tell them apart: a terminal has no room for more."""

    def ending(key: str) -> str:
        parts = key.split(".")
        tails = (".".join(parts[place:]) for place in range(len(parts) - 1, 0, -1))
        return next((tail for tail in tails if sum(f".{one}".endswith(f".{tail}") for one in keys) == 1), key)

    return {key: ending(key) for key in keys}


def _short(keys: dict[str, Any]) -> str:
    shown = [f"{key}={_value(value)}" for key, value in list(keys.items())[:_SHOWN_KEYS]]
    more = len(keys) - len(shown)
    return "\n".join([*shown, f"and {more} more"] if more > 0 else shown)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
