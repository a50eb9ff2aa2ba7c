"""The table of docs/export.md: networks × formats × precisions, each written, run in its runtime and compared.

    python benchmarks/export_matrix.py --out FILE --keep DIR --data CamVid --weights espnet-c=encoder.safetensors
    python benchmarks/export_matrix.py --out FILE --keep DIR --latency

The first call needs no quiet machine; it measures sizes, agreement and mIoU, and leaves the files in DIR. The second
one does: it times the files whose runtimes are installed here, formats of one network in turns (`export_latency.py`).

FILE is written after every row. Called again, the command goes on where it was: rows that are there are kept, those
that failed are tried again (--again: all of them). Formats whose packages are not installed here are left out, so
environments that exclude each other fill one table. A network without packaged weights gets those of --weights, or
random ones, as in `fleetseg benchmark`. mIoU is measured where the weights are real, over the first --images of the
split; int8 needs --data and is judged by the whole split.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from export_latency import add_latencies, checkpoint_path, file_path
from export_table import table

from fleetseg.atomic import write_text
from fleetseg.benchmark.machine import describe_machine, describe_versions
from fleetseg.benchmark.subject import read_subject
from fleetseg.cli.options import parse_size
from fleetseg.compilation import read_network
from fleetseg.compiler.build import find_compiler
from fleetseg.data import open_dataset
from fleetseg.errors import CompileError, FleetsegError, UsageError
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
    empty: dict[str, Any] = {"machine": describe_machine(), "versions": {}, "rows": {}}
    record = json.loads(arguments.out.read_text()) if arguments.out.is_file() else empty
    with tempfile.TemporaryDirectory() as folder:
        keep = arguments.keep or Path(folder)
        for _ in latency_steps(record, keep, arguments) if arguments.latency else export_steps(record, keep, arguments):
            write_text(arguments.out, json.dumps(record, indent=1) + "\n")
    print(table(record["rows"]))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the files there; --latency reads them")
    parser.add_argument("--latency", action="store_true", help="time the files of --keep, on a machine that is idle")
    parser.add_argument("--threads", type=int, action="append", help="--latency: may be repeated (default: 2 and 1)")
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
    arguments = parser.parse_args()
    if arguments.latency and (arguments.keep is None or not arguments.out.is_file()):
        parser.error("--latency times what an earlier call left: --keep DIR and its --out FILE are needed")
    return arguments


def latency_steps(record: dict[str, Any], keep: Path, arguments: argparse.Namespace) -> Iterator[None]:
    """Latencies in the record, a network and number of threads after another."""
    networks, formats = arguments.network or NETWORKS, arguments.format or ()
    then, now = record.get("latency_machine"), describe_machine()
    if then is not None and (then["processor"], then["target"]) != (now["processor"], now["target"]):
        raise UsageError(
            f"{arguments.out}: was timed on {then['processor']}, not {now['processor']}; begin another file"
        )
    record["latency_machine"] = now
    for threads in arguments.threads or (2, 1):
        for network in add_latencies(record["rows"], keep, networks, formats, threads):
            print(network, threads, "threads: done", flush=True)
            yield


def export_steps(record: dict[str, Any], keep: Path, arguments: argparse.Namespace) -> Iterator[None]:
    """Rows in the record, one after another."""
    weights = dict(item.split("=", 1) for item in arguments.weights)
    rows = record["rows"]
    check_one_size(rows, arguments)
    keep.mkdir(parents=True, exist_ok=True)
    for network in arguments.network or NETWORKS:
        source, is_random = checkpoint_of(network, weights.get(network), keep)
        for item, precision in wanted(arguments, is_random):
            key = f"{network} {item.name} {precision}"
            if key in rows and "error" not in rows[key] and not arguments.again:
                continue
            out = file_path(keep, network, item, precision)
            out.parent.mkdir(exist_ok=True)
            rows[key] = measured(source, is_random, item, precision, out, arguments) | {"model": network}
            record["versions"][item.name] = versions()
            print(key, rows[key].get("error") or rows[key].get("miou_drop"), flush=True)
            yield


def check_one_size(rows: dict[str, Any], arguments: argparse.Namespace) -> None:
    """`UsageError` for rows of another size than --size: they would stand in one table and be timed together."""
    for row in rows.values():
        if "form" in row and tuple(row["form"]["size"]) != arguments.size:
            size = "x".join(map(str, row["form"]["size"]))
            raise UsageError(f"{arguments.out}: its rows are of {size}; give --size {size}, or begin another file")


def wanted(arguments: argparse.Namespace, is_random: bool) -> Iterator[tuple[Format, str]]:
    """Formats and precisions that are asked for and possible here."""
    for item in FORMATS.values():
        if (arguments.format and item.name not in arguments.format) or item.missing_packages():
            continue
        for precision in item.precisions:
            if arguments.precision and precision not in arguments.precision:
                continue
            if precision != "int8" or (arguments.data and not is_random and can_quantise(item)):
                yield item, precision


def checkpoint_of(network: str, weights: str | None, keep: Path) -> tuple[str, bool]:
    """A checkpoint in `keep` of a packaged network, of `weights` or of random ones; and whether they are random."""
    module, metadata, is_random = read_subject(weights or network, 11)
    path = checkpoint_path(keep, network)
    save_checkpoint(path, module, metadata)
    return str(path), is_random


def versions() -> dict[str, str]:
    """Of this environment."""
    try:
        return describe_versions(find_compiler())
    except CompileError:
        return describe_versions(None)


def measured(
    source: str, is_random: bool, item: Format, precision: str, out: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """The report of one export, or the sentence with which it failed."""
    request = ExportRequest(item.name, arguments.size, precision, force=True)
    try:
        if precision == "int8":
            found = quantised(source, out, request, arguments)
        else:
            report = export(source, out, request)
            drop = None if is_random or report.agreement is None else miou_drop(source, out, arguments)
            found = report.as_json() | {"random_weights": is_random, "images": arguments.images, "miou_drop": drop}
    except FleetsegError as error:
        return {"error": str(error)}
    if found["agreement"] is not None:
        del found["agreement"]["latency_ms"]  # of a machine that may be busy
    return found


def quantised(source: str, out: Path, request: ExportRequest, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of an int8 export, in the form of the others'; its own one as `quantisation`."""
    settings = Int8Request(arguments.data, arguments.calibration, arguments.max_drop, threads=1)
    report = export_int8(source, out, request, settings)
    network, metadata = read_network(source)
    form = form_of(request)
    details = report.as_json()
    for one in details["precisions"].values():
        del one["latency_ms"]
    return {
        "form": form.model_dump(),
        "files": report.files,
        "size_bytes": sum(report.files.values()),
        "agreement": asdict(compared(network, metadata, form, out)),
        "random_weights": False,
        "images": details["images"],
        "miou_drop": report.drop,
        "int8_share_of_macs": report.precisions[-1].int8_share,
        "quantisation": {key: details[key] for key in ("precisions", "float_layers", "attempts", "sensitivity")},
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


if __name__ == "__main__":
    try:
        main()
    except FleetsegError as error:
        sys.exit(f"export_matrix.py: {error}")
