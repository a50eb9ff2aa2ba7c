"""``fleetseg export``: a network as a file for another runtime, compared with the network before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.atomic import check_file_writable
from fleetseg.cli.options import ThreadsOption, parse_size, print_json, write_json
from fleetseg.cli.own_network import NetworkOption, use_network_of

if TYPE_CHECKING:
    from fleetseg.exporting import ExportReport, ExportRequest
    from fleetseg.quantise import Int8Request

_HELP = """Write a network for another runtime, run the file there and compare it with the network.

Formats: onnx (.onnx), openvino (.xml and .bin), ncnn (.param and .bin), torch (torch.export, .pt2), litert (TFLite,
.tflite), executorch (.pte), coreml (.mlpackage) and c (a folder, as fleetseg compile). Classes, palette, normalisation
and licence travel inside. A file that does not agree with the network on a built-in scene is an error and is not kept.
Which network fits which format: docs/export.md.

\b
Examples:
  fleetseg export enet-camvid --format onnx --size dynamic --out enet.onnx
  fleetseg export enet-camvid --format openvino --size 480x360 --precision fp16 --out enet.xml
  fleetseg export runs/enet --format ncnn --size 480x360 --out enet-ncnn.param
  fleetseg export enet-camvid --format onnx --size 480x360 --preprocess --head classes --out camera.onnx
  fleetseg export enet-camvid --format openvino --size 480x360 --precision int8 --data CamVid --out enet-int8.xml

With --precision int8 the images of --data's split train give the ranges of the integers, and those of its split val say
what int8 costs. Layers that cost most stay float until at most --max-drop points of mIoU are lost; if that cannot be,
there is no file and a sentence says why. docs/quantisation.md has more.
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
        typer.Option(
            "--precision",
            metavar="NAME",
            help="fp32, fp16 (weights of half the size), int8 (onnx, openvino, litert), c: fp32, bf16.",
        ),
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
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="int8: the data set that calibrates and judges it."),
    ] = None,
    max_drop: Annotated[
        float, typer.Option("--max-drop", metavar="POINTS", help="int8: mIoU points that it may lose.")
    ] = 0.5,
    calibration: Annotated[
        int, typer.Option("--calibration", metavar="N", help="int8: images of the split train that give the ranges.")
    ] = 96,
    fine_tune: Annotated[
        int,
        typer.Option(
            "--fine-tune",
            min=0,
            metavar="EPOCHS",
            help="int8: if the limit cannot be kept, train so long with rounded weights and maps.",
        ),
    ] = 0,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="int8: write the report as JSON to FILE.")
    ] = None,
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at FILE.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Run the command."""
    from rich.console import Console

    from fleetseg.errors import UnknownNameError, UsageError
    from fleetseg.exporters.formats import format_named
    from fleetseg.exporting import ExportRequest, export
    from fleetseg.quantise import Int8Request

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
    if precision != "int8" and (data is not None or report is not None or fine_tune):
        raise UsageError("--data, --report and --fine-tune belong to --precision int8")
    use_network_of(model, own_network)
    if precision == "int8" and data is not None:
        settings = Int8Request(data, calibration, max_drop, fine_tune_epochs=fine_tune, threads=threads)
        _export_int8(model, out, request, settings, report, as_json)
        return
    with Console(stderr=True).status(f"Writing {model} as {title}, then comparing it with the network"):
        written = export(model, out, request)
    if as_json:
        print_json(written.as_json())
    else:
        print_report(written, out)


def _export_int8(
    model: str, out: Path, request: ExportRequest, settings: Int8Request, report: Path | None, as_json: bool
) -> None:
    from fleetseg.cli.console import track
    from fleetseg.quantise import as_table, export_int8

    if report is not None:
        check_file_writable(report)
    written = export_int8(model, out, request, settings, track)
    if report is not None:
        write_json(report, written.as_json())
    if as_json:
        print_json(written.as_json())
        return
    for name, length in written.files.items():
        print(f"{out.parent / name}: {length / 2**20:.2f} MiB")
    images = len(written.precisions[0].evaluation.images)
    print(f"{images} images of {written.data}, {written.calibration_images} for calibration, {written.threads} threads")
    print(as_table(written))


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
