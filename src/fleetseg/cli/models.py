"""``fleetseg models``: the registered networks and what they cost."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from fleetseg.cli.options import print_json

_HELP = """List the networks: parameters, size, multiply-adds at 640×360, receptive field, paper.

Counts depend on the number of classes; BatchNorm's running statistics are not counted, as in the papers.

\b
Examples:
  fleetseg models
  fleetseg models --classes 11 --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models", help=_HELP, short_help="List the networks and what they cost.")(models)


def models(
    classes: Annotated[int, typer.Option("--classes", metavar="N", help="Number of classes, 2 to 255.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects for programs.")] = False,
) -> None:
    """Run the command."""
    from fleetseg.errors import MissingExtraError

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("listing the networks' costs", "train")
    from fleetseg.models.cost import network_costs

    costs = network_costs(classes)
    if as_json:
        print_json([cost.as_json() for cost in costs])
        return
    from rich.console import Console
    from rich.table import Table

    headings = ("name", "parameters", "fp32 MB", "fp16 MB", "GMACs", "field", "paper")
    title = f"{classes} classes; GMACs at 640×360; field: receptive field in pixels"
    table = Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "right"
    table.columns[0].justify = table.columns[-1].justify = "left"
    for cost in costs:
        table.add_row(
            cost.name,
            f"{cost.parameters:,}",
            f"{cost.fp32_mb:.2f}",
            f"{cost.fp16_mb:.2f}",
            f"{cost.gmacs_640x360:.4f}",
            f"{cost.receptive_field:,}",
            cost.paper,
        )
    Console().print(table)
