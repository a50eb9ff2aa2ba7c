"""``fleetseg tune``: search a recipe's keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import complain
from fleetseg.cli.options import print_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = """Search values for keys of a recipe with Optuna: each trial is a training, its validation mIoU the judge.

A trial that is worse than the median of the earlier ones was at the same epoch is stopped (pruned), once five are
through; so validate often (--set stages.NAME.validate_every=1). A search that was stopped or killed goes on with
--resume, in the middle of a trial too. OUT gets best.yaml, the best trial's recipe, and a run's folder a trial
("fleetseg runs OUT" compares them).

\b
A key is searched in a range, a range of logarithms, or a list:
  --key stages.network.optimiser.learning_rate=1e-4:1e-2:log
  --key stages.network.batch_size=4:16
  --key network.options.decoder_activation=relu,prelu

\b
Examples:
  fleetseg tune smoke --out searches/lr --key stages.network.optimiser.learning_rate=1e-4:1e-2:log --trials 10
  fleetseg tune fine-tune --data mine --out searches/c --key stages.whole.loss.c=1.02:1.4 --resume
"""

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune", help=_HELP, short_help="Search a recipe's keys for the best mIoU.")(tune)


def tune(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A packaged recipe's name or a YAML file.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder of the search; made if missing.")],
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY=VALUES", help="What to search; may be repeated.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help='Folder of a data set, or "scenes".  [default: the recipe\'s]'),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe in all trials; may be repeated."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network", metavar="NAME", help="Another network than the recipe's in all trials, as in fleetseg train."
        ),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, metavar="N", help="Trials in all, earlier ones too.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the values that are proposed.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in OUT.")] = False,
    json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write the trials as JSON; - for stdout."),
    ] = None,
) -> int:
    """Run the command."""
    from fleetseg.atomic import check_file_writable
    from fleetseg.errors import UsageError
    from fleetseg.training.processes import from_environment
    from fleetseg.training.quiet import quiet_libraries
    from fleetseg.training.recipe_file import load_recipe
    from fleetseg.training.search_space import read_keys

    loaded = load_recipe(recipe, settings or [], network=network)
    space = read_keys(recipe, settings or [], keys or [], network)
    source = loaded.default_data if data is None else data
    if source is None:
        raise UsageError(f"recipe {loaded.name} names no data; give --data DIR or --data scenes")
    if from_environment(os.environ) is not None:
        raise UsageError("fleetseg tune runs its trials one after the other in one process; start it without torchrun")
    if json is not None and str(json) != "-":
        check_file_writable(json)
    _require_extras()
    with quiet_libraries():
        from fleetseg.training.opened_splits import open_split
        from fleetseg.training.search import Search, SearchPlan, trial_figures
    open_split(loaded, source, loaded.data.train_split)  # what is wrong with it is said before the folder is made
    plan = SearchPlan(recipe, tuple(settings or ()), source, tuple(space), seed, network)
    try:
        ended = Search(plan, out, resume, complain).run(trials)
    except KeyboardInterrupt:
        complain(f"stopped; the same command with --resume goes on with the search in {out}")
        return _INTERRUPTED
    figures = trial_figures(ended)
    if str(json) == "-":
        print_json(figures)
    else:
        _print_table(figures)
        if json is not None:
            write_json(json, figures)
    best = out / "best.yaml"
    complain(f"done; the best trial's recipe is {best}" if best.is_file() else "done; no trial came to its end")
    return 0 if best.is_file() else 1


def _print_table(figures: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    names = [escape(name) for name in figures[0]["values"]] if figures else []
    table = Table("trial", "mIoU", "state", *names)
    table.columns[1].justify = "right"
    for one in figures:
        miou = one["miou"] if one["miou"] is not None else one["last_miou"]
        values = (Text(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in one["values"].values())
        table.add_row(str(one["trial"]), "–" if miou is None else f"{miou:.2f}", one["state"], *values)
    Console().print(table)


def _require_extras() -> None:
    import importlib.util

    from fleetseg.cli.train import require_extra
    from fleetseg.errors import MissingExtraError

    require_extra()
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("searching a recipe's keys", "tune")
