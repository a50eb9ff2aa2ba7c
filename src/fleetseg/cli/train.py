"""``fleetseg train``: run a recipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from fleetseg.cli.console import complain

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
) -> None:
    """Run the command."""
    from fleetseg.errors import MissingExtraError, UsageError
    from fleetseg.training.recipe import load_recipe

    loaded = load_recipe(recipe, settings or [])
    source = data or loaded.default_data
    if source is None:
        raise UsageError(f"recipe {loaded.name} names no data; give --data DIR or --data scenes")
    if any(importlib.util.find_spec(name) is None for name in ("torch", "pytorch_lightning")):
        raise MissingExtraError("training", "train")
    from fleetseg.training.run import Run

    best = Run(loaded, source, out, resume=resume).execute()
    complain(f"done; the best weights are {best}")
    print(best)
