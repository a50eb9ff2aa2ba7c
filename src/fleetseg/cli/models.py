"""``fleetseg models``: the registered networks and what they cost."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.options import print_json
from fleetseg.errors import MissingExtraError

if TYPE_CHECKING:
    from fleetseg.models.cost import NetworkCost

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
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("listing the networks' costs", "train")
    from fleetseg.models.cost import network_costs

    costs = network_costs(classes)
    if as_json:
        print_json([cost.as_json() for cost in costs])
        return
    print_table(costs, classes)


def print_table(costs: list[NetworkCost], classes: int) -> None:
    """A row a network; where the terminal is narrow, the papers wrap and no number is cut."""
    from rich.console import Console
    from rich.table import Table

    print(f"{classes} classes; MB: 10⁶ bytes; GMACs: 10⁹ multiply-adds at 640×360; field: receptive field in pixels")
    table = Table("name", box=None, pad_edge=False)
    for heading in ("parameters", "fp32 MB", "fp16 MB", "GMACs", "field"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("paper")
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
