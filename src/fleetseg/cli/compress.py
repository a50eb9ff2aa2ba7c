"""``fleetseg compress``: a network with fewer channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetseg.cli.console import track
from fleetseg.cli.options import SplitOption, print_json

if TYPE_CHECKING:
    from fleetseg.compression.compressing import CompressionReport

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
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Run the command."""
    from rich.console import Console

    from fleetseg.compression.compressing import compress
    from fleetseg.compression.timing import latencies_ms
    from fleetseg.data import open_dataset

    dataset = open_dataset(data, split) if data is not None else None
    with Console(stderr=True).status(f"Looking for channels of {model} that can go"):
        report = compress(model, out, prune, force=force)
        latencies = latencies_ms((model, str(out)), report.size) if timed else None
    figures = report.as_json()
    if latencies is not None:
        figures["latency_ms"] = {"before": latencies[0], "after": latencies[1], "engine": "onnxruntime", "threads": 1}
    if dataset is not None:
        figures["miou"] = {"before": _miou(model, dataset), "after": _miou(str(out), dataset)}
    if as_json:
        print_json(figures)
    else:
        _print(report, figures, out)


def _miou(model: str, dataset: Any) -> float:
    from fleetseg.evaluation import evaluate
    from fleetseg.runtime import load

    network = load(model)
    indices = track(range(len(dataset)), f"Measuring {model}")
    return float(evaluate(network, dataset, network.classes, indices=indices).scores.miou)


def _print(report: CompressionReport, figures: dict[str, Any], out: Path) -> None:
    """A line a figure, before → after."""
    before, after, removal = report.before, report.after, report.removal
    width, height = report.size
    print(f"{out}: {out.stat().st_size / 2**20:.2f} MiB")
    rows = [
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}", after.parameters / before.parameters),
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
    if "miou" in figures:
        one, other = 100 * figures["miou"]["before"], 100 * figures["miou"]["after"]
        print(f"mIoU: {one:.2f} → {other:.2f}")
    print(
        f"on a built-in scene {100 * report.same_classes:.3f}% of the pixels keep their class, logits differ by "
        f"at most {report.max_difference:.2g} (the largest is {report.largest_logit:.1f})"
    )
