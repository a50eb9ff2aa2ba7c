"""Latency of all networks, with the fastest engine and with PyTorch, beside what the two papers print.

    python benchmarks/networks.py --json benchmarks/results/networks-PROCESSOR-DATE.json --minutes 5
    python benchmarks/networks.py --compile
    python benchmarks/networks.py --network enet --network segnet --size 640x360 --trials 30

Random weights: speed does not depend on them. Cheap subjects come first. The file is written after each, and the same
call goes on where it stopped, after --minutes or a failure; without --json nothing is kept. A network that would need
more multiply-adds than --most-gmacs, or more memory than is free, is left out with the reason. Engines take turns as in
`fleetseg benchmark`, whose file format this is, with one more key: `networks` holds parameters, multiply-adds and timed
runs. Nothing else may run meanwhile. `python benchmarks/network_plots.py` draws the files, `network_tables.py` prints
their tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from network_tables import print_tables

from fleetseg.atomic import check_writable, write_text
from fleetseg.available_memory import available_memory
from fleetseg.benchmark.choices import Choice, choose
from fleetseg.benchmark.compare import WARM_UP, Settings, compare
from fleetseg.benchmark.machine import describe_machine, describe_versions
from fleetseg.benchmark.peak import PeakMeter
from fleetseg.benchmark.record import Comparison, Skipped, as_json
from fleetseg.benchmark.subject import read_subject, write_subject
from fleetseg.compilation import write_library
from fleetseg.errors import FleetsegError, UsageError
from fleetseg.models import build_network, network_names
from fleetseg.models.base import count_parameters
from fleetseg.models.cost import multiply_adds

#: The papers' sizes: ENet's Table 2, ESPNet's Fig. 10 and Cityscapes at half size.
SIZES = ("224x224", "480x320", "640x360", "1024x512", "1280x720", "1920x1080")
#: Engines that can be the fastest; of the others ncnn and OpenCV never were, and torch.compile builds for minutes.
ENGINES = ("native", "openvino:fp32", "openvino:bf16", "onnxruntime", "torch:fp32")


@dataclass(frozen=True)
class Subject:
    """A network at a size, and what it costs."""

    network: str
    size: str
    parameters: int
    gmacs: float


def main() -> int:
    """Measure, print the tables, write the file."""
    arguments = parsed()
    if arguments.json is not None:
        check_writable(arguments.json.parent)
    choices = choose(arguments.engine or ENGINES)
    subjects = subjects_of(arguments.network or default_networks(), arguments.size or list(SIZES), arguments.classes)
    if arguments.compile:
        return compile_ahead(subjects, choices, arguments)
    peak = PeakMeter(arguments.threads)
    record = begun(arguments.json, peak.compiler)
    until = time.monotonic() + 60 * arguments.minutes
    for subject in remaining(subjects, record):
        if time.monotonic() > until:
            print(f"{arguments.minutes:g} minutes are over; the same call goes on", file=sys.stderr)
            break
        trials, comparison = measured(subject, choices, arguments, peak)
        part = as_json([comparison], round(peak.gflops, 2), {}, {})
        record["results"] += part["results"]
        record.setdefault("skipped", []).extend(part.get("skipped", []))
        record["peak_gflops"] = max(record["peak_gflops"], part["peak_gflops"])
        record["networks"].append({**vars(subject), "trials": trials})
        if arguments.json is not None:
            write_text(arguments.json, json.dumps(record, indent=2) + "\n")
    print_tables(record)
    return 0


def compile_ahead(subjects: Iterable[Subject], choices: Iterable[Choice], arguments: argparse.Namespace) -> int:
    """Build what the native engine will need: libraries stay in the cache, and measuring finds them there."""
    precisions = [choice.precision for choice in choices if choice.engine == "native"]
    for subject in subjects:
        if subject.gmacs > arguments.most_gmacs:
            continue
        network, metadata, _ = read_subject(subject.network, arguments.classes)
        for precision in precisions:
            print(f"{subject.network} {subject.size} {precision}", file=sys.stderr)
            options = {"precision": precision, "threads": arguments.threads, "metadata": metadata}
            try:
                with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
                    write_library(network, parse(subject.size), Path(folder), **options)
            except FleetsegError as error:
                print(f"{subject.network} {subject.size} {precision}: {error}", file=sys.stderr)
    return 0


def begun(path: Path | None, compiler: str | None) -> dict[str, Any]:
    """What an earlier call of this machine wrote, or the beginning of a record."""
    machine, versions = describe_machine(), describe_versions(compiler)
    if path is None or not path.exists():
        return {"peak_gflops": 0.0, "machine": machine, "versions": versions, "results": [], "networks": []}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key, now in (("processor", machine), ("target", machine), ("torch", versions), ("openvino", versions)):
        then = record["machine" if now is machine else "versions"].get(key)
        if then != now.get(key):
            raise UsageError(f"{path}: was measured with {key} {then}, not {now.get(key)}; begin another file")
    return record


def subjects_of(names: Sequence[str], sizes: Sequence[str], classes: int) -> list[Subject]:
    """Networks at sizes, those of few multiply-adds first."""
    found = []
    for name in names:
        with torch.device("meta"):
            network = build_network(name, classes).eval()
        for size in sizes:
            gmacs = round(multiply_adds(network, *parse(size)) / 1e9, 4)
            found.append(Subject(name, size, count_parameters(network), gmacs))
    return sorted(found, key=lambda subject: subject.gmacs)


def remaining(subjects: Iterable[Subject], record: dict[str, Any]) -> list[Subject]:
    """What the record does not hold yet."""
    done = {(row["network"], row["size"]) for row in record["networks"]}
    return [subject for subject in subjects if (subject.network, subject.size) not in done]


def measured(
    subject: Subject, choices: Sequence[Choice], arguments: argparse.Namespace, peak: PeakMeter
) -> tuple[int, Comparison]:
    """The timed runs of each engine and what came of them; none if it does not fit."""
    size, macs = parse(subject.size), int(1e9 * subject.gmacs)
    reason = f"{subject.gmacs:.0f} GMACs are more than --most-gmacs {arguments.most_gmacs:g}"
    if subject.gmacs <= arguments.most_gmacs:
        network, metadata, random_weights = read_subject(subject.network, arguments.classes)
        reason = too_large(network, size)
    if reason:
        print(f"{subject.network} {subject.size}: left out, {reason}", file=sys.stderr)
        comparison = Comparison(subject.network, subject.size, arguments.threads, 0, macs, True)
        comparison.skipped.append(Skipped(subject.network, "all", "", subject.size, reason))
        return 0, comparison
    trials = trials_for(subject.gmacs, arguments.trials)
    print(f"{subject.network} {subject.size}: {subject.gmacs:.1f} GMACs, {trials} runs", file=sys.stderr)
    # A network that takes a second needs no three runs before every timed one.
    settings = Settings(choices, arguments.threads, trials, warm_up=1 if subject.gmacs > 20 else WARM_UP)
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        written = write_subject(subject.network, network, metadata, random_weights, size, Path(folder))
        return trials, compare(written, settings, peak, lambda _what, _done: None)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", help="a registered network; may be repeated (default: all)")
    parser.add_argument("--size", action="append", help=f"WxH; may be repeated (default: {', '.join(SIZES)})")
    parser.add_argument("--engine", action="append", help=f"as in fleetseg benchmark (default: {', '.join(ENGINES)})")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30, help="timed runs; fewer, at least 3, of what is slow")
    parser.add_argument("--compile", action="store_true", help="only build the libraries, which needs no quiet machine")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after so many")
    parser.add_argument("--most-gmacs", type=float, default=300.0, help="larger subjects are left out")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def default_networks() -> list[str]:
    """All that are registered, but the encoders of two-stage training."""
    return [name for name in network_names() if not name.endswith("-encoder")]


def parse(size: str) -> tuple[int, int]:
    """WxH."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def trials_for(gmacs: float, trials: int) -> int:
    """As many as asked for below 5 GMACs, fewer in proportion above: every round has untimed runs beside."""
    return trials if gmacs <= 5 else max(3, min(trials, round(trials * 5 / gmacs)))


def too_large(network: Any, size: tuple[int, int]) -> str:
    """Why memory does not suffice for a network at a size; "" if it does."""
    # Engines keep the weights twice at least (their file, their own order), and a few of the largest maps.
    needed = 3 * 4 * count_parameters(network) + 4 * largest_map(network, size)
    free = available_memory()
    if needed > 0.8 * free:
        return f"about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free"
    return ""


def largest_map(network: Any, size: tuple[int, int]) -> int:
    """Bytes of the largest layer's input and output in float32, found without computing anything."""
    largest = 0

    def watch(_module: Any, inputs: Any, output: Any) -> None:
        nonlocal largest
        tensors = [value for value in (*inputs, output) if isinstance(value, torch.Tensor)]
        largest = max(largest, sum(4 * value.numel() for value in tensors))

    with torch.device("meta"):
        empty = build_network(network.registered_name, network.num_classes, **network.options).eval()
    for module in empty.modules():
        if not list(module.children()):
            module.register_forward_hook(watch)
    with torch.no_grad():
        empty(torch.empty(1, 3, size[1], size[0], device="meta"))
    return largest


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FleetsegError as error:
        sys.exit(f"networks.py: {error}")
