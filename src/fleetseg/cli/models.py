"""``fleetseg models``: the networks and what they cost, their variants, the papers' sizes beside ours."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import track
from fleetseg.cli.options import print_json
from fleetseg.cli.own_network import use_network
from fleetseg.errors import MissingExtraError, UsageError
from fleetseg.variants import is_users

if TYPE_CHECKING:
    from fleetseg.models.cost import NetworkCost
    from fleetseg.models.paper_table import Comparison

#: Columns of the tables where stdout is no terminal.
_WIDTH = 180

_HELP = """List the networks: parameters, size, multiply-adds at 640×360, receptive field, paper.

Counts depend on the number of classes; BatchNorm's running statistics are not counted, as in the papers.

--variants lists the names of networks with other options, which every command takes as well: the papers' ablations.
--paper counts every size that the papers of ENet and ESPNet print anew, from the built network, and sets it beside
theirs; "=" means equal to the printed digits, cut or rounded.

\b
Examples:
  fleetseg models
  fleetseg models --classes 11 --json
  fleetseg models --variants
  fleetseg models --paper
  fleetseg models --network my_net.py:MyNet --classes 11
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models", help=_HELP, short_help="List the networks and what they cost.")(models)


def models(
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", help="Number of classes, 2 to 255.  [default: 20]")
    ] = None,
    variants: Annotated[bool, typer.Option("--variants", help="List the named variants instead.")] = False,
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME", help="Only this network: registered, a variant or FILE.py:CLASS."),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Compare with the sizes that the papers print.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects for programs.")] = False,
) -> None:
    """Run the command."""
    if paper and (variants or classes is not None or network is not None):
        raise UsageError("--paper has its own networks and class counts; give it alone")
    if variants and network is not None:
        raise UsageError("--variants lists all; give --network alone")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("listing the networks' costs", "train")
    count = 20 if classes is None else classes
    if paper:
        from fleetseg.models.paper_table import compared, rows_of_ours

        comparisons = [compared(row) for row in track(rows_of_ours(), "Counting")]
        _show([comparison.as_json() for comparison in comparisons], as_json, lambda: print_paper(comparisons))
    elif variants:
        rows = variant_rows(count)
        _show(rows, as_json, lambda: print_variants(rows, count))
    else:
        from fleetseg.models import network_names
        from fleetseg.models.cost import network_cost

        if network is not None and is_users(network):
            use_network(network)
        names = network_names() if network is None else (network,)
        costs = [network_cost(name, count) for name in track(names, "Measuring")]
        _show([cost.as_json() for cost in costs], as_json, lambda: print_table(costs, count))


def _show(rows: list[dict[str, Any]], as_json: bool, show: Callable[[], None]) -> None:
    if as_json:
        print_json(rows)
    else:
        show()


def variant_rows(classes: int) -> list[dict[str, Any]]:
    """An object a variant."""
    from fleetseg.models.cost import parameter_count
    from fleetseg.variants import VARIANTS

    return [
        {
            "name": variant.name,
            "network": variant.network,
            "options": dict(variant.options),
            "parameters": parameter_count(variant.name, classes),
            "where": variant.where,
        }
        for variant in track(tuple(VARIANTS.values()), "Counting")
    ]


def print_table(costs: list[NetworkCost], classes: int) -> None:
    """A row a network; where the terminal is narrow, the papers wrap and no number is cut."""
    print(f"{classes} classes; MB: 10⁶ bytes; GMACs: 10⁹ multiply-adds at 640×360; field: receptive field in pixels")
    _print_rows(
        ("name", "parameters", "fp32 MB", "fp16 MB", "GMACs", "field", "paper"),
        [
            (
                cost.name,
                f"{cost.parameters:,}",
                f"{cost.fp32_mb:.2f}",
                f"{cost.fp16_mb:.2f}",
                f"{cost.gmacs_640x360:.4f}",
                "whole" if cost.receptive_field is None else f"{cost.receptive_field:,}",
                cost.paper,
            )
            for cost in costs
        ],
        numbers=range(1, 6),
    )


def print_variants(rows: list[dict[str, Any]], classes: int) -> None:
    """A row a variant."""
    print(f"{classes} classes; a variant is a network with these options, and its name goes where the network's goes")
    _print_rows(
        ("variant", "network", "parameters", "options", "paper"),
        [
            (
                row["name"],
                row["network"],
                f"{row['parameters']:,}",
                ", ".join(f"{key}={value}" for key, value in row["options"].items()),
                row["where"],
            )
            for row in rows
        ],
        numbers=(2,),
    )


def print_paper(comparisons: list[Comparison]) -> None:
    """A row a printed number, then how many agree."""
    units = "parameters of networks: millions; MB: 10⁶ bytes in fp32; fp16 MB, memory: MiB; GFLOPs at 640×360"
    print(f"{units}; =: as printed, cut or rounded")
    _print_rows(
        ("where", "row", "quantity", "paper", "ours", "difference", "note"),
        [
            (
                comparison.row.where,
                comparison.row.row,
                comparison.row.quantity,
                comparison.row.printed,
                f"{round(comparison.ours, 6):,}",
                _difference(comparison),
                "" if comparison.agrees else comparison.row.note,
            )
            for comparison in comparisons
        ],
        numbers=(3, 4, 5),
    )
    agreeing = sum(comparison.agrees for comparison in comparisons)
    print(f"{agreeing} of {len(comparisons)} printed numbers come out to the digit")


def _difference(comparison: Comparison) -> str:
    """Equal ("="), or the difference in percent, with a digit more where one would show nothing."""
    if comparison.agrees:
        return "="
    percent = 100 * (comparison.ours / comparison.paper - 1)
    return f"{percent:+.{1 if abs(percent) >= 0.05 else 2}f} %"


def _print_rows(headings: tuple[str, ...], rows: list[tuple[str, ...]], numbers: Collection[int]) -> None:
    """A borderless table; the first column and the numbers never wrap."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        number = index in numbers
        table.add_column(heading, justify="right" if number else "left", no_wrap=number or index == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    # Into a file or a pipe the notes fit on one line.
    (console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDTH)).print(table)
