"""``fleetseg report``: the page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetseg.cli.console import complain, track
from fleetseg.cli.own_network import NetworkOption, use_network

_HELP = """Write RUN/report.html: curves, IoU of each class, confusion matrix, best and worst images, PReLU slopes.

One file without anything beside it; "fleetseg train" writes it at the end of a run, this command at any time,
while the run is still training too. The figures are those of its best weights so far on the validation split.

\b
Examples:
  fleetseg report runs/enet
  fleetseg report runs/enet --data /elsewhere/CamVid
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", help=_HELP, short_help="Write the page about a training run.")(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="Data set to measure on.  [default: what the run was trained on]"),
    ] = None,
    own_network: NetworkOption = None,
) -> None:
    """Run the command."""
    from fleetseg.cli.train import require_extra
    from fleetseg.training.run_summary import read_run

    read_run(run)  # a mistyped folder is said before torch is imported
    require_extra()
    use_network(own_network)
    path = report_on(run, data)
    complain(f"the report is {path}")
    print(path)


def report_on(run: Path, data: str | None = None) -> Path:
    """Write it, with a progress bar."""
    from fleetseg.report import write_report

    return write_report(run, data, lambda numbers: track(numbers, "Evaluating"))
