"""Latency of a network and of what `fleetseg compress` and training on made of it: compiled, and on ONNX Runtime.

    python benchmarks/compressed_latency.py enet-camvid pruned.safetensors --size 480x360 --files DIR --prepare
    python benchmarks/compressed_latency.py enet-camvid pruned.safetensors --size 480x360 --files DIR --json a.json

Packaged names or checkpoints. --prepare writes the compiled libraries and ONNX files to DIR and stops; the second call
takes what is there of these weights, size and threads, and nothing else may run during it. Each file has a process of
its own, all of them take turns; what is timed goes from a uint8 image to logits. Printed are medians, and how they
differ from the first model's on that engine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from export_latency import timed

from fleetseg.app.batches.job import network_files
from fleetseg.atomic import write_text
from fleetseg.benchmark.machine import describe_machine
from fleetseg.benchmark.record import percentiles
from fleetseg.cli.options import parse_size
from fleetseg.compilation import write_library
from fleetseg.errors import FleetsegError
from fleetseg.exporting import ExportRequest, export

#: The engines, and what each one's file is called in a model's folder.
FORMS = {"compiled fp32": "fp32", "compiled bf16": "bf16", "ONNX Runtime": "network.onnx"}


def main() -> None:
    """Run the command line above."""
    words = parsed()
    files = {}
    for number, model in enumerate(words.models):
        folder = words.files / folder_name(model, words.size, words.threads)
        for engine, name in FORMS.items():
            path = folder / name
            if not path.exists():
                write(model, path, words.size, words.threads)
            files[f"{number} {engine}"] = path
    if words.prepare:
        return
    rows = compared(words.models, timed(files, words.size, words.threads))
    for row in rows:
        print(f"{row['model']}, {row['engine']}: {row['median_ms']:.2f} ms ({row['change_percent']:+.1f}%)")
    if words.json is not None:
        settings = {"size": "x".join(map(str, words.size)), "threads": words.threads, "machine": describe_machine()}
        write_text(words.json, json.dumps({**settings, "results": rows}, indent=2) + "\n")


def folder_name(model: str, size: tuple[int, int], threads: int) -> str:
    """Another one for other weights of the same name, another size and another number of threads."""
    _, name, digest = network_files(model)
    return f"{Path(name).stem}-{digest[:12]}-{size[0]}x{size[1]}-{threads}"


def write(model: str, path: Path, size: tuple[int, int], threads: int) -> None:
    """One engine's file of a model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        export(model, path, ExportRequest("onnx", size))
    else:
        write_library(model, size, path, precision=path.name, threads=threads)


def compared(models: Sequence[str], times: dict[str, list[float]]) -> list[dict[str, str | float]]:
    """A row a model and engine that ran: the median, and its difference from the first model's."""
    rows: list[dict[str, str | float]] = []
    for number, model in enumerate(models):
        for engine in FORMS:
            if f"{number} {engine}" in times and f"0 {engine}" in times:
                median, p90, _ = percentiles(times[f"{number} {engine}"])
                first = percentiles(times[f"0 {engine}"])[0]
                figures = {"median_ms": median, "p90_ms": p90, "change_percent": 100 * (median / first - 1)}
                rounded = {key: round(value, 2) for key, value in figures.items()}
                rows.append({"model": Path(model).stem, "engine": engine, **rounded})
    return rows


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--size", type=parse_size, required=True, metavar="WxH")
    parser.add_argument("--files", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except FleetsegError as error:
        sys.exit(f"compressed_latency.py: {error}")
