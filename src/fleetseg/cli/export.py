"""``fleetseg export``: a network as a file for another runtime, compared with the network before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.options import parse_size, print_json

if TYPE_CHECKING:
    from fleetseg.exporting import ExportReport

_HELP = """Write a network for another runtime, run the file there and compare it with the network.

Formats: onnx (.onnx), openvino (.xml and .bin), ncnn (.param and .bin), torch (torch.export, .pt2), litert (TFLite,
.tflite), executorch (.pte), coreml (.mlpackage) and c (a folder, as fleetseg compile). Classes, palette, normalisation
and licence travel inside. A file that does not agree with the network on a built-in scene is an error and is not kept.
Which network fits which format: docs/export.md.

\b
Examples:
  fleetseg export enet-camvid --format onnx --size dynamic --out enet.onnx
  fleetseg export enet-camvid --format openvino --size 480x360 --precision fp16 --out enet.xml
  fleetseg export runs/enet --format ncnn --size 480x360 --out enet.param
  fleetseg export enet-camvid --format onnx --size 480x360 --preprocess --head classes --out camera.onnx
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", help=_HELP, short_help="Write a network for another runtime.")(export_command)


def export_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a checkpoint or a run's folder.")],
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="onnx, openvino, ncnn, torch, litert, executorch, coreml or c."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file (coreml and c: the folder) to write.")],
    size: Annotated[
        str,
        typer.Option("--size", metavar="WxH", help="Size of the images, such as 480x360, or dynamic: every size."),
    ] = "dynamic",
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="NAME", help="fp32, fp16 (weights of half the size), c: fp32 or bf16."),
    ] = "fp32",
    head: Annotated[
        str, typer.Option("--head", metavar="NAME", help="What comes out: logits, or classes (arg-max inside).")
    ] = "logits",
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Take uint8 RGB images (1, H, W, 3) and normalise them inside.")
    ] = False,
    image_size: Annotated[
        str | None,
        typer.Option("--image-size", metavar="WxH", help="With --preprocess: take images of this size, resize inside."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at FILE.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Run the command."""
    from rich.console import Console

    from fleetseg.errors import UnknownNameError
    from fleetseg.exporters.formats import format_named
    from fleetseg.exporting import ExportRequest, export

    if head not in ("logits", "classes"):
        raise UnknownNameError("head", head, ("logits", "classes"))
    title = format_named(format_).title
    request = ExportRequest(
        format_,
        None if size == "dynamic" else parse_size(size),
        precision,
        head,
        preprocess,
        parse_size(image_size) if image_size else None,
        force,
    )
    with Console(stderr=True).status(f"Writing {model} as {title}, then comparing it with the network"):
        report = export(model, out, request)
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report, out)


def print_report(report: ExportReport, out: Path) -> None:
    """Files with their sizes, then how the file agrees with the network."""
    for name, length in report.files.items():
        print(f"{out.parent / name}: {length / 2**20:.2f} MiB")
    found = report.agreement
    if found is None:
        print(f"not run here: {report.note}")
        return
    width, height = found.scene
    print(
        f"{found.engine} on a built-in scene of {width}x{height}: {100 * found.same_classes:.3f}% of the pixels have "
        f"the network's class, {found.latency_ms:.1f} ms an image with one thread"
    )
    if found.max_difference is not None:
        print(
            f"logits differ by at most {found.max_difference:.2g}, on average by {found.mean_difference:.2g} "
            f"(the largest is {found.largest_logit:.1f})"
        )
