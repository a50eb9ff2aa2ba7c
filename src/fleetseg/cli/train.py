"""``fleetseg train``: run a recipe."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain

if TYPE_CHECKING:
    from fleetseg.training.processes import Processes
    from fleetseg.training.recipe import Recipe

_HELP = """Train a network by a recipe: a packaged one by name, or a YAML file.

RUN gets best.safetensors (best validation mIoU), last.safetensors, history.csv, TensorBoard events, the complete
recipe and, at the end, report.html. A run that was stopped or killed goes on from its last whole epoch with --resume.

\b
Examples:
  fleetseg train smoke --out runs/smoke
  fleetseg train enet-camvid --data CamVid --out runs/enet
  fleetseg train enet-camvid --data CamVid --out runs/short --set stages.longer.epochs=5 --set seed=3
  fleetseg train enet-camvid --data CamVid --out runs/enet --resume
  fleetseg train espnet-camvid --data CamVid --out runs/mobile --network espnet-c-mobilenet
  fleetseg train enet-camvid --data photos --out runs/mine --network my_net.py:MyNet
  fleetseg train enet-camvid --data CamVid --out runs/enet --devices 4
  fleetseg train fine-tune --data mine --out runs/mine
  fleetseg train smoke --init enet-camvid --out runs/warm
  fleetseg train enet-camvid-distilled --data CamVid --teacher best.onnx --out runs/distilled
  fleetseg train segnet.yaml --data CamVid --out runs/segnet --backbone-weights vgg16_bn.pth

--network puts another network into the recipe, with its own default options; stages that train an encoder first
are left out where it has none.

--devices shares each batch among processes (docs/distributed.md); the result is that of one process but for
BatchNorm, which sees only its process's images.
"""

#: What shells report for a process that SIGINT ended.
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", help=_HELP, short_help="Train a network by a recipe.")(train)


def train(
    context: typer.Context,
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
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Start from the weights of a packaged name, a checkpoint or a run's folder, as far as they fit; "
            "short for --set init=MODEL.",
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="Learn from this model too: any that fleetseg opens, or self for the weights' own moving average. "
            "Given several times, from the mean of the models' class probabilities. For the stages with a distillation "
            "section; if none has, for all that train the whole network.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NAME",
            help="Another network than the recipe's: a registered one, a variant, or FILE.py:CLASS of your own.",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            "--backbone-weights",
            metavar="FILE",
            help="ImageNet weights that the network's VGG16 or ResNet starts from: a .pth or .safetensors file "
            "in torchvision's or timm's layout. The same as --set network.backbone_weights=FILE.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch.")] = False,
    devices: Annotated[
        int | None,
        typer.Option("--devices", min=1, metavar="N", help="Processes on this machine, one a GPU.  [default: 1]"),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, metavar="N", help="Machines that share the training.  [default: 1]")
    ] = None,
) -> int:
    """Run the command."""
    from fleetseg.training.checks import check_processes
    from fleetseg.training.processes import ALONE, check_counts, from_environment, launch
    from fleetseg.training.recipe_file import load_recipe

    changes = [*(settings or []), *_backbone_setting(backbone_weights)]
    loaded = load_recipe(recipe, changes, network=network, init=init, teachers=teacher or [])
    source = _data_of(loaded, out, resume) if data is None else data
    require_extra()
    processes = from_environment(os.environ)
    if processes is None:
        if (devices or 1) * (nodes or 1) > 1:
            check_processes(loaded, (devices or 1) * (nodes or 1))
            return launch(context.obj, devices or 1, nodes or 1)
        processes = ALONE
    check_counts(processes, devices, nodes)
    return _train(loaded, source, out, resume, processes)


def _train(recipe: Recipe, data: str, out: Path, resume: bool, processes: Processes) -> int:
    """This process's part; the first one speaks."""
    from fleetseg.training.quiet import quiet_libraries

    with quiet_libraries():
        from fleetseg.training.collectives import OtherProcessEndedError, joined
        from fleetseg.training.run import Run
    try:
        with joined(processes):
            best = Run(recipe, data, out, resume, processes).execute()
    except KeyboardInterrupt:
        if processes.first:
            complain(f"stopped; the same command with --resume continues {out} from the last whole epoch")
        return _INTERRUPTED
    except OtherProcessEndedError as error:
        if processes.first:
            complain(str(error))
        return error.exit_status
    if processes.first:
        page = _report(out)
        shown = f", the report is {page}" if page else ""
        complain(f"done; the weights with the best validation mIoU are {best}{shown}")
        print(best)
    return 0


def _report(out: Path) -> Path | None:
    """The page about the run; a run whose page cannot be written is a run all the same."""
    from fleetseg.cli.report import report_on
    from fleetseg.errors import FleetsegError

    try:
        return report_on(out)
    except FleetsegError as error:
        complain(f"the report was not written: {error}")
        return None
    except KeyboardInterrupt:
        complain(f"the report was not written: stopped; the run is finished, and fleetseg report {out} writes it")
        return None


def _backbone_setting(path: Path | None) -> list[str]:
    """The key of the recipe that --backbone-weights stands for; in quotes, so that YAML takes it as it is."""
    return [] if path is None else [f"network.backbone_weights={json.dumps(str(path))}"]


def _data_of(recipe: Recipe, out: Path, resume: bool) -> str:
    """The data to train on where --data is not given."""
    from fleetseg.errors import UsageError
    from fleetseg.training.run_folder import RunFolder

    record = RunFolder(out).recorded_data() if resume else None
    source = record.data if record is not None else recipe.default_data
    if source is None:
        raise UsageError(f"recipe {recipe.name} names no data; give --data DIR or --data scenes")
    return source


def require_extra() -> None:
    """`MissingExtraError` unless everything that training imports is installed."""
    from fleetseg.errors import MissingExtraError

    for module in ("torch", "pytorch_lightning", "tensorboard"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("training a network", "train")
