"""``fleetseg train``: run a recipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain

if TYPE_CHECKING:
    from fleetseg.training.recipe import Recipe

_HELP = """Train a network by a recipe: a packaged one by name, or a YAML file.

RUN gets best.safetensors (best validation mIoU), last.safetensors, history.csv, TensorBoard scalars and the
complete recipe. A run that was stopped or killed goes on from its last whole epoch with --resume.

\b
Examples:
  fleetseg train smoke --out runs/smoke
  fleetseg train enet-camvid --data CamVid --out runs/enet
  fleetseg train enet-camvid --data CamVid --out runs/short --set stages.fine.epochs=5 --set seed=3
  fleetseg train enet-camvid --data CamVid --out runs/enet --resume
"""

#: What shells report for a process that SIGINT ended.
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", help=_HELP, short_help="Train a network by a recipe.")(train)


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A packaged recipe's name or a YAML file.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run; made if missing.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help='Folder of a data set with train and val splits, or "scenes".  [default: the recipe\'s]',
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch.")] = False,
) -> int:
    """Run the command."""
    from fleetseg.training.quiet import quiet_libraries
    from fleetseg.training.recipe_file import load_recipe

    loaded = load_recipe(recipe, settings or [])
    source = data or _data_of(loaded, out, resume)
    _require_extra()
    try:
        with quiet_libraries():
            from fleetseg.training.run import Run
        best = Run(loaded, source, out, resume=resume).execute()
    except KeyboardInterrupt:
        complain(f"stopped; the same command with --resume continues {out} from the last whole epoch")
        return _INTERRUPTED
    complain(f"done; the weights with the best validation mIoU are {best}")
    print(best)
    return 0


def _data_of(recipe: Recipe, out: Path, resume: bool) -> str:
    """The data to train on where --data is not given."""
    from fleetseg.errors import UsageError
    from fleetseg.training.run_folder import RunFolder

    record = RunFolder(out).recorded_data() if resume else None
    source = record.data if record is not None else recipe.default_data
    if source is None:
        raise UsageError(f"recipe {recipe.name} names no data; give --data DIR or --data scenes")
    return source


def _require_extra() -> None:
    from fleetseg.errors import MissingExtraError

    for module in ("torch", "pytorch_lightning", "tensorboard"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("training a network", "train")
