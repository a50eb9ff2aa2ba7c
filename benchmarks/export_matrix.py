"""The table of docs/export.md: networks × formats × precisions, each written, run in its runtime and compared.

    python benchmarks/export_matrix.py --out FILE --data CamVid --images 20 --weights espnet-c=encoder.safetensors

FILE is written after every row. Called again, the command goes on where it was: rows that are there are kept, those
that failed are tried again (--again: all of them). Formats whose packages are not installed here are left out, so
environments that exclude each other fill one table. A network without packaged weights gets those of --weights, or
random ones, as in `fleetseg benchmark`. mIoU is measured where the weights are real, over the first --images of the
split; int8 needs --data and is judged by the whole split.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from fleetseg.atomic import write_text
from fleetseg.benchmark.subject import read_subject
from fleetseg.cli.options import parse_size
from fleetseg.compilation import read_network
from fleetseg.data import open_dataset
from fleetseg.errors import FleetsegError
from fleetseg.evaluation import evaluate
from fleetseg.exporters.formats import FORMATS, Format
from fleetseg.exporting import ExportRequest, compared, export, form_of
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.quantise import Int8Request, can_quantise, export_int8
from fleetseg.runtime import Model, load

NETWORKS = ("enet-camvid", "espnet-camvid", "espnet-c", "erfnet")


def main() -> None:
    """Measure what can be measured here and print the table."""
    arguments = parsed()
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    weights = dict(item.split("=", 1) for item in arguments.weights)
    for network in arguments.network or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            source, is_random = checkpoint_of(network, weights.get(network), Path(folder))
            for item, precision in rows(arguments, is_random):
                key = f"{network} {item.name} {precision}"
                if key in results and "error" not in results[key] and not arguments.again:
                    continue
                place = Path(folder) / "out"
                results[key] = measured(source, is_random, item, precision, place, arguments)
                write_text(arguments.out, json.dumps(results, indent=1) + "\n")
    print(table(results))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--size", type=parse_size, default=(480, 360), metavar="WxH")
    parser.add_argument("--data", metavar="DIR", help="also mIoU, over the first --images of its val split, and int8")
    parser.add_argument("--images", type=int, default=101)
    parser.add_argument("--calibration", type=int, default=96, help="int8: images of the train split")
    parser.add_argument("--max-drop", type=float, default=0.5, help="int8: points of mIoU that may be lost")
    parser.add_argument("--weights", action="append", default=[], metavar="NETWORK=FILE", help="a checkpoint of it")
    parser.add_argument("--network", action="append", help="default: " + ", ".join(NETWORKS))
    parser.add_argument("--format", action="append", choices=sorted(FORMATS))
    parser.add_argument("--precision", action="append", choices=["fp32", "fp16", "int8", "bf16"])
    parser.add_argument("--again", action="store_true", help="measure rows again that FILE has")
    return parser.parse_args()


def rows(arguments: argparse.Namespace, is_random: bool) -> Iterator[tuple[Format, str]]:
    """Formats and precisions that are asked for and possible here."""
    for item in FORMATS.values():
        if (arguments.format and item.name not in arguments.format) or item.missing_packages():
            continue
        for precision in item.precisions:
            if arguments.precision and precision not in arguments.precision:
                continue
            if precision != "int8" or (arguments.data and not is_random and can_quantise(item)):
                yield item, precision


def checkpoint_of(network: str, weights: str | None, folder: Path) -> tuple[str, bool]:
    """A packaged name or `weights` as they are, else a checkpoint with random ones; and whether those are random."""
    module, metadata, is_random = read_subject(weights or network, 11)
    if not is_random:
        return weights or network, False
    path = folder / f"{network}.safetensors"
    save_checkpoint(path, module, metadata)
    return str(path), True


def measured(
    source: str, is_random: bool, item: Format, precision: str, folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """The report of one export, or the sentence with which it failed."""
    folder.mkdir(exist_ok=True)
    out = folder / f"{item.name}-{precision}{item.suffix}"
    request = ExportRequest(item.name, arguments.size, precision, force=True)
    try:
        if precision == "int8":
            found = quantised(source, out, request, arguments)
        else:
            report = export(source, out, request)
            drop = None if is_random or report.agreement is None else miou_drop(source, out, arguments)
            found = report.as_json() | {"random_weights": is_random, "images": arguments.images, "miou_drop": drop}
    except FleetsegError as error:
        found = {"error": str(error)}
    print(source, item.name, precision, found.get("error", found.get("agreement")), flush=True)
    return found


def quantised(source: str, out: Path, request: ExportRequest, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of an int8 export, in the form of the others'."""
    settings = Int8Request(arguments.data, arguments.calibration, arguments.max_drop, threads=1)
    report = export_int8(source, out, request, settings)
    network, metadata = read_network(source)
    form = form_of(request)
    return {
        "model": source,
        "form": form.model_dump(),
        "files": report.files,
        "size_bytes": sum(report.files.values()),
        "agreement": asdict(compared(network, metadata, form, out)),
        "random_weights": False,
        "images": len(report.precisions[-1].evaluation.images),
        "miou_drop": report.drop,
        "int8_share_of_macs": report.precisions[-1].int8_share,
    }


def miou_drop(source: str, out: Path, arguments: argparse.Namespace) -> float | None:
    """Points of mIoU that the file loses against the network at the same size."""
    if arguments.data is None:
        return None
    split = (arguments.data, arguments.size, arguments.images)
    return 100 * (miou_of_network(source, *split) - miou(load(out, threads=1), *split))


@cache
def miou_of_network(source: str, data: str, size: tuple[int, int], images: int) -> float:
    """In PyTorch, measured once for all rows."""
    return miou(load(source, "torch"), data, size, images)


def miou(model: Model, data: str, size: tuple[int, int], images: int) -> float:
    """Over the first images of the split, every image at the size that was exported."""
    dataset = open_dataset(data, "val")
    indices = range(min(images, len(dataset)))
    result = evaluate(lambda image: model.predict(image, size), dataset, model.classes, indices=indices)
    return float(result.scores.miou)


def table(results: dict[str, Any]) -> str:
    """Markdown, a row a network, format and precision."""
    lines = [
        "| network | format | precision | MiB | same class | largest difference | ms, 1 thread | mIoU lost |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for key, found in results.items():
        network, name, precision = key.split()
        if "error" in found:
            lines.append(f"| {network} | {name} | {precision} | {found['error']} | | | | |")
            continue
        agreement, drop = found["agreement"], found["miou_drop"]
        cells = [f"{found['size_bytes'] / 2**20:.2f}"]
        if agreement is None:
            cells += [found["note"], "", "", ""]
        else:
            cells += [
                f"{100 * agreement['same_classes']:.3f}%",
                f"{agreement['max_difference']:.1e} of {agreement['largest_logit']:.0f}",
                f"{agreement['latency_ms']:.1f}",
                "" if drop is None else f"{drop:+.2f}",
            ]
        lines.append(f"| {network} | {name} | {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
