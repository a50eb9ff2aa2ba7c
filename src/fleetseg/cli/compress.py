"""``fleetseg compress``: a network with fewer channels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.atomic import folder_beside, move_into
from fleetseg.cli.console import track
from fleetseg.cli.options import SplitOption, print_json
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from fleetseg.compression.compressing import CompressionReport
    from fleetseg.data import Dataset

_HELP = """Write a network with fewer channels, as a checkpoint like any other, and say what that costs and gains.

Without --prune exactly: channels whose BatchNorm has no scale any more, and what only they need. The answers stay the
same but for the rounding of sums; what differs more is an error, and nothing is written.

--prune 0.3 also removes about 30% of every set of channels that may only go together, the least important ones. That
network answers badly until it has been trained on: docs/compression.md.

\b
Examples:
  fleetseg compress espnet_p_2_q_8.pth --out espnet-small.safetensors
  fleetseg compress enet-camvid --prune 0.3 --out pruned.safetensors
  fleetseg train pruned --init pruned.safetensors --data CamVid --out runs/pruned
  fleetseg compress runs/enet --prune 0.5 --out half.safetensors --data CamVid --json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compress", help=_HELP, short_help="Write a network with fewer channels.")(compress_command)


def compress_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a checkpoint or a run's folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The checkpoint (.safetensors) to write.")],
    prune: Annotated[
        float,
        typer.Option("--prune", metavar="SHARE", help="Also remove this share of the living channels, from 0 to 0.9."),
    ] = 0.0,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help='Also measure both on a data set; "scenes" is the built-in one.'),
    ] = None,
    split: SplitOption = "val",
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Also time both on ONNX Runtime.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at FILE.")] = False,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Run the command."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("compressing a network", "train")
    from rich.console import Console

    from fleetseg.compression.compressing import compress
    from fleetseg.compression.removing import check_share
    from fleetseg.compression.timing import latencies_ms
    from fleetseg.models.checkpoint import check_checkpoint_path

    asked = use_network(own_network)
    check_checkpoint_path(out, force)
    check_share(prune)
    dataset = _dataset(model, asked, data, split)
    # Beside its place until all is measured: whatever fails leaves nothing, and MODEL may be FILE itself.
    with folder_beside(out) as folder:
        smaller = folder / out.name
        with Console(stderr=True).status(f"Looking for channels of {model} that can go"):
            report = compress(model, smaller, prune)
        figures = report.as_json()
        if timed:
            with Console(stderr=True).status("Timing both on ONNX Runtime, one thread"):
                before, after = latencies_ms((model, str(smaller)), report.size)
            figures["latency_ms"] = {"before": before, "after": after, "engine": "onnxruntime", "threads": 1}
        if dataset is not None:
            old = _measured(model, dataset, f"Measuring {model}")
            new = _measured(str(smaller), dataset, f"Measuring {out}")
            figures |= {key: {"before": old[key], "after": new[key]} for key in ("miou", "class_iou")}
        move_into(folder, out.parent)
    if as_json:
        print_json(figures)
    else:
        _print(report, figures, out)


def _dataset(model: str, asked: str | None, data: str | None, split: str) -> Dataset | None:
    """What both are measured on; `UsageError` before any work for a MODEL that does not fit it or --network."""
    from fleetseg.compilation import read_network
    from fleetseg.data import open_dataset
    from fleetseg.evaluation import match_classes

    _, metadata = read_network(model)
    check_network(asked, {model: metadata.network.name})
    if data is None:
        return None
    dataset = open_dataset(data, split)
    try:
        match_classes(metadata.classes, dataset.labels)
    except UsageError as error:
        raise UsageError(f"{model} does not fit {data} {split}: {error}") from error
    return dataset


def _measured(model: str, dataset: Dataset, what: str) -> dict[str, Any]:
    """`Evaluation.as_json`, on PyTorch whatever MODEL is: the two shall differ in their channels alone."""
    from fleetseg.evaluation import evaluate
    from fleetseg.runtime import load

    network = load(model, engine="torch")
    result = evaluate(
        lambda image: network.predict(image, (image.shape[1], image.shape[0])),  # its own size, as fleetseg evaluate
        dataset,
        network.classes,
        indices=track(range(len(dataset)), what),
    )
    if not result.scores.counts[:-1].any():
        raise DataError(f"{dataset.name} {dataset.split}: no pixel has a label; a split with labels is needed")
    return result.as_json(model, network.engine)


def _print(report: CompressionReport, figures: dict[str, Any], out: Path) -> None:
    """A line a figure, before → after."""
    before, after, removal = report.before, report.after, report.removal
    width, height = report.size
    print(f"{out}: {out.stat().st_size / 2**20:.2f} MiB")
    rows = [
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}", after.parameters / before.parameters),
        (
            "weights and statistics",
            f"{before.file_bytes / 2**20:.2f} MiB",
            f"{after.file_bytes / 2**20:.2f} MiB",
            after.file_bytes / before.file_bytes,
        ),
        (
            f"MACs at {width}x{height}",
            f"{before.macs / 1e9:.3f} G",
            f"{after.macs / 1e9:.3f} G",
            after.macs / before.macs,
        ),
        (
            f"BatchNorm channels ({removal.dead} dead)",
            str(removal.norms_before),
            str(removal.norms_after),
            removal.norms_after / removal.norms_before,
        ),
    ]
    if "latency_ms" in figures:
        one, other = figures["latency_ms"]["before"], figures["latency_ms"]["after"]
        rows.append(("ONNX Runtime, 1 thread", f"{one:.1f} ms", f"{other:.1f} ms", other / one))
    for name, old, new, ratio in rows:
        print(f"{name}: {old} → {new} ({100 * (ratio - 1):+.1f}%)")
    if before.parameters == after.parameters:
        print("nothing can go without changing the answers; --prune SHARE removes living channels")
    if "miou" in figures:
        print(f"mIoU: {figures['miou']['before']:.2f} → {figures['miou']['after']:.2f}")
    print(
        f"on a built-in scene {100 * report.same_classes:.3f}% of the pixels keep their class, logits differ by "
        f"at most {report.max_difference:.2g} (the largest is {report.largest_logit:.1f})"
    )
