"""The table of docs/export.md: networks × formats × precisions, each written, run in its runtime and compared.

    python benchmarks/export_matrix.py --out benchmarks/results/export.json --data CamVid

Formats whose packages are not installed here are left out; earlier results stay in FILE, so that environments
that exclude each other fill one table. A network without packaged weights gets those of --weights, or random ones, as
in `fleetseg benchmark`. mIoU is measured where the weights are real, over the first --images of the split.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from fleetseg.atomic import write_text
from fleetseg.benchmark.subject import read_subject
from fleetseg.data import open_dataset
from fleetseg.errors import FleetsegError
from fleetseg.evaluation import evaluate
from fleetseg.exporters.formats import FORMATS, Format
from fleetseg.exporting import ExportReport, ExportRequest, export
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.runtime import Model, load

NETWORKS = ("enet-camvid", "espnet-camvid", "espnet-c", "erfnet")


def main() -> None:
    """Measure what can be measured here and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--size", default="480x360")
    parser.add_argument("--data", metavar="DIR", help="also mIoU, over the first --images of its val split")
    parser.add_argument("--images", type=int, default=101)
    parser.add_argument("--weights", action="append", default=[], metavar="NETWORK=FILE", help="a checkpoint of it")
    parser.add_argument("--network", action="append", help="default: " + ", ".join(NETWORKS))
    parser.add_argument("--format", action="append", choices=sorted(FORMATS))
    arguments = parser.parse_args()
    size = tuple(int(side) for side in arguments.size.split("x"))
    weights = dict(item.split("=", 1) for item in arguments.weights)
    results = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    for network in arguments.network or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            source, is_random = checkpoint_of(network, weights.get(network), Path(folder))
            for item in FORMATS.values():
                if (arguments.format and item.name not in arguments.format) or item.missing_packages():
                    continue
                for precision in item.precisions:
                    key = f"{network} {item.name} {precision}"
                    place = Path(folder) / "out"
                    results[key] = measured(source, is_random, item, precision, size, place, arguments)
                    write_text(arguments.out, json.dumps(results, indent=1) + "\n")
    print(table(results))


def checkpoint_of(network: str, weights: str | None, folder: Path) -> tuple[str, bool]:
    """A packaged name or `weights` as they are, else a checkpoint with random ones; and whether those are random."""
    module, metadata, is_random = read_subject(weights or network, 11)
    if not is_random:
        return weights or network, False
    path = folder / f"{network}.safetensors"
    save_checkpoint(path, module, metadata)
    return str(path), True


def measured(
    source: str,
    is_random: bool,
    item: Format,
    precision: str,
    size: tuple[int, ...],
    folder: Path,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The report of one export, or the sentence with which it failed."""
    folder.mkdir(exist_ok=True)
    out = folder / f"{item.name}-{precision}{item.suffix}"
    try:
        report = export(source, out, ExportRequest(item.name, (size[0], size[1]), precision, force=True))
        drop = None if is_random else miou_drop(source, report, out, arguments)
        found = report.as_json() | {"random_weights": is_random, "images": arguments.images, "miou_drop": drop}
    except FleetsegError as error:
        found = {"error": str(error)}
    print(source, item.name, precision, found.get("error", found.get("agreement")), flush=True)
    return found


def miou_drop(source: str, report: ExportReport, out: Path, arguments: argparse.Namespace) -> float | None:
    """Points of mIoU that the file loses against the network at the same size."""
    if arguments.data is None or report.agreement is None:
        return None
    return 100 * (miou(load(source), arguments, out) - miou(load(out, threads=1), arguments, out))


def miou(model: Model, arguments: argparse.Namespace, out: Path) -> float:
    """Over the first images of the split, every image at the size that was exported."""
    dataset = open_dataset(arguments.data, "val")
    size = load(out, threads=1).fixed_size
    count = min(arguments.images, len(dataset))
    result = evaluate(lambda image: model.predict(image, size), dataset, model.classes, indices=range(count))
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
