"""``fleetseg adjust``: logits moved by a constant a class, so that mIoU becomes highest."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.atomic import folder_beside, move_into
from fleetseg.cli.console import track
from fleetseg.cli.options import DataOption, SizeOption, SplitOption, parse_size, print_json
from fleetseg.cli.own_network import NetworkOption, use_network_of
from fleetseg.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from fleetseg.adjusting import Adjustment
    from fleetseg.data import Dataset

_HELP = """Add to each class's logits the constant with which mIoU is highest on the training images.

Class weights in the loss let rare classes be learnt, and leave them predicted too often. How much of that to take back
is found here without training: the network labels the images of --split once, and one number a class is sought. The
numbers go into the bias of the last layer, so the new checkpoint is as large and as fast as the old one. ESPNet has no
such bias; it gets one (the option class_bias).

\b
Examples:
  fleetseg adjust runs/mine --data mine --out mine.safetensors
  fleetseg adjust enet-camvid --data CamVid --out adjusted.safetensors --check val
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adjust", help=_HELP, short_help="Move logits by a constant a class, for the best mIoU.")(
        adjust_command
    )


def adjust_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a checkpoint or a run's folder.")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The checkpoint (.safetensors) to write.")],
    split: SplitOption = "train",
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="NAME", help="Also measure before and after on this split, such as val."),
    ] = None,
    size: SizeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at FILE.")] = False,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Run the command."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("adjusting a network", "train")
    from fleetseg.adjusting import adjust
    from fleetseg.data import open_dataset
    from fleetseg.models.checkpoint import check_checkpoint_path
    from fleetseg.runtime import load

    use_network_of(model, own_network)
    if check == split:
        raise UsageError(f"--check {check}: is the split that the constants are sought on; it cannot check them")
    seen = parse_size(size) if size else None
    dataset = open_dataset(data, split)
    unseen = open_dataset(data, check) if check is not None else None
    check_checkpoint_path(out, force)
    # Beside its place until all is measured: whatever fails leaves nothing, and MODEL may be FILE itself.
    with folder_beside(out) as folder:
        moved = folder / out.name
        what = f"Labelling {split} by {model}"
        found = adjust(model, load(model), dataset, moved, seen, lambda images: track(list(images), what))
        figures = found.as_json()
        if unseen is not None:
            before = _miou(model, unseen, seen, model)
            after = _miou(str(moved), unseen, seen, str(out))
            figures["check"] = {"split": check, "miou_before": before, "miou_after": after}
        move_into(folder, out.parent)
    if as_json:
        print_json(figures)
    else:
        _print(found, figures, split, out)


def _miou(model: str, dataset: Dataset, size: tuple[int, int] | None, what: str) -> float:
    from fleetseg.evaluation import evaluate
    from fleetseg.runtime import load

    network = load(model)
    indices = track(range(len(dataset)), f"Measuring {what}")
    scores = evaluate(lambda image: network.predict(image, size), dataset, network.classes, indices=indices).scores
    return float(scores.miou)


def _print(found: Adjustment, figures: dict[str, Any], split: str, out: Path) -> None:
    width = max(len(name) for name in found.shifts)
    for name, shift in found.shifts.items():
        print(f"{name:{width}s} {shift:+.2f}")
    before, after = 100 * found.miou_before, 100 * found.miou_after
    print(f"mIoU on {found.pixels:,} pixels of {split}: {before:.2f} → {after:.2f}")
    if "check" in figures:
        one, other = (100 * figures["check"][key] for key in ("miou_before", "miou_after"))
        print(f"mIoU on {figures['check']['split']}: {one:.2f} → {other:.2f}")
    print(f"written: {out}")
