"""Latency of all networks, with the fastest engine and with PyTorch, beside what the two papers print.

    python benchmarks/networks.py --json benchmarks/results/networks-PROCESSOR-DATE.json
    python benchmarks/networks.py --network enet --network segnet --size 640x360 --trials 30

Random weights: speed does not depend on them. A network that would need more multiply-adds than --most-gmacs, or more
memory than is free, is left out with the reason. Engines take turns as in `fleetseg benchmark`, whose file format this
is, with one more key: `networks` holds parameters and multiply-adds. Nothing else may run meanwhile.
`python benchmarks/network_plots.py` draws the files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fleetseg.atomic import check_writable, write_text
from fleetseg.available_memory import available_memory
from fleetseg.benchmark.choices import choose
from fleetseg.benchmark.compare import Settings, compare
from fleetseg.benchmark.machine import describe_machine, describe_versions
from fleetseg.benchmark.peak import PeakMeter
from fleetseg.benchmark.record import Comparison, Skipped, as_json
from fleetseg.benchmark.subject import read_subject, write_subject
from fleetseg.errors import FleetsegError
from fleetseg.models import build_network, network_names
from fleetseg.models.base import count_parameters
from fleetseg.models.cost import multiply_adds

#: The papers' sizes: ENet's Table 2, ESPNet's Fig. 10 and Cityscapes at half size.
SIZES = ("224x224", "480x320", "640x360", "1024x512", "1280x720", "1920x1080")
#: Engines that can be the fastest; of the others ncnn and OpenCV never were, and torch.compile builds for minutes.
ENGINES = ("native", "openvino:fp32", "openvino:bf16", "onnxruntime", "torch:fp32")


@dataclass(frozen=True)
class Claim:
    """A ratio of times that a paper prints: `slow` takes so many times as long as `fast`."""

    slow: str
    fast: str
    size: str
    printed: str
    where: str


CLAIMS = (
    Claim("segnet", "enet", "480x320", "16.1", "ENet, Table 2, TX1: 757 and 47 ms"),
    Claim("segnet", "enet", "640x360", "18.1", "ENet, Table 2, TX1: 1251 and 69 ms"),
    Claim("enet", "espnet", "1024x512", "1.27", "ESPNet, section 4.2, TitanX"),
    Claim("erfnet", "espnet", "1024x512", "about 3", "ESPNet, section 4.3, TX2"),
)


def main() -> int:
    """Measure, print the tables, write the file."""
    arguments = parsed()
    names = arguments.network or default_networks()
    sizes = arguments.size or list(SIZES)
    choices = choose(arguments.engine or ENGINES)
    if arguments.json is not None:
        check_writable(arguments.json.parent)
    peak = PeakMeter(arguments.threads)
    comparisons, networks = [], []
    for name in names:
        network, metadata, random_weights = read_subject(name, arguments.classes)
        # A size at a time, so that a stopped measurement has whole networks.
        for text in sizes:
            size = parse(text)
            gmacs = multiply_adds(network, *size) / 1e9
            networks.append(
                {"network": name, "size": text, "parameters": count_parameters(network), "gmacs": round(gmacs, 4)}
            )
            reason = why_not(network, size, gmacs, arguments.most_gmacs)
            if reason:
                print(f"{name} {text}: left out, {reason}", file=sys.stderr)
                comparisons.append(left_out(name, text, arguments, int(gmacs * 1e9), reason))
                continue
            print(f"{name} {text}: {gmacs:.1f} GMACs", file=sys.stderr)
            settings = Settings(choices, arguments.threads, trials_for(gmacs, arguments.trials))
            with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
                subject = write_subject(name, network, metadata, random_weights, size, Path(folder))
                comparisons.append(compare(subject, settings, peak, lambda _what, _done: None))
    record = as_json(comparisons, round(peak.gflops, 2), describe_machine(), describe_versions(peak.compiler))
    record["networks"] = networks
    print_tables(record)
    if arguments.json is not None:
        write_text(arguments.json, json.dumps(record, indent=2) + "\n")
    return 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", help="a registered network; may be repeated (default: all)")
    parser.add_argument("--size", action="append", help=f"WxH; may be repeated (default: {', '.join(SIZES)})")
    parser.add_argument("--engine", action="append", help=f"as in fleetseg benchmark (default: {', '.join(ENGINES)})")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100, help="timed runs; a tenth of that, at least 3, if slow")
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
    """Fewer for a network of which one run takes about a second."""
    return trials if gmacs < 20 else max(3, trials // 10)


def why_not(network: Any, size: tuple[int, int], gmacs: float, most_gmacs: float) -> str:
    """Why a network cannot be measured at a size; "" if it can."""
    if gmacs > most_gmacs:
        return f"{gmacs:.0f} GMACs are more than --most-gmacs {most_gmacs:g}"
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


def left_out(name: str, size: str, arguments: argparse.Namespace, macs: int, reason: str) -> Comparison:
    """A comparison without results."""
    comparison = Comparison(name, size, arguments.threads, 0, macs, True)
    comparison.skipped.append(Skipped(name, "all", "", size, reason))
    return comparison


def fastest(results: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The result with the least median."""
    return min(results, key=lambda result: float(result["median_ms"]), default=None)


def of(record: dict[str, Any], name: str, size: str, engine: str = "") -> list[dict[str, Any]]:
    """Results of a network at a size, of one engine in float32 if asked for."""
    rows = [row for row in record["results"] if (row["model"], row["size"]) == (name, size)]
    return [row for row in rows if not engine or (row["engine"], row["precision"]) == (engine, "fp32")]


def print_tables(record: dict[str, Any]) -> None:
    """For each size: PyTorch, the fastest engine, and both against ENet; then the papers' ratios."""
    sizes: Sequence[str] = list(dict.fromkeys(row["size"] for row in record["networks"]))
    for size in sizes:
        headings = f"{'GMACs':>9s} {'PyTorch ms':>11s} {'fastest ms':>11s}  {'':18s} {'speed-up':>8s} {'/ ENet':>7s}"
        print(f"\n{size:16s} {headings}")
        reference = fastest(of(record, "enet", size))
        for row in (row for row in record["networks"] if row["size"] == size):
            torch_row = fastest(of(record, row["network"], size, "torch"))
            best = fastest(of(record, row["network"], size))
            if best is None:
                print(f"{row['network']:16s} {row['gmacs']:9.2f} {'–':>11s} {'–':>11s}")
                continue
            name = f"{best['engine']}:{best['precision']}"
            slow = f"{torch_row['median_ms']:11.1f}" if torch_row else f"{'–':>11s}"
            up = f"{torch_row['median_ms'] / best['median_ms']:8.2f}" if torch_row else f"{'–':>8s}"
            ratio = f"{best['median_ms'] / reference['median_ms']:7.1f}" if reference else f"{'–':>7s}"
            print(f"{row['network']:16s} {row['gmacs']:9.2f} {slow} {best['median_ms']:11.1f}  {name:18s} {up} {ratio}")
    print(f"\n{'times as long':32s} {'printed':>8s} {'PyTorch':>8s} {'fastest':>8s}")
    for claim in CLAIMS:
        found = [ratio_of(record, claim, engine) for engine in ("torch", "")]
        label = f"{claim.slow} / {claim.fast} {claim.size}"
        print(f"{label:32s} {claim.printed:>8s} {found[0]:>8s} {found[1]:>8s}  {claim.where}")


def ratio_of(record: dict[str, Any], claim: Claim, engine: str) -> str:
    """Our ratio for a paper's; – where one of both was not measured."""
    slow, fast = (fastest(of(record, name, claim.size, engine)) for name in (claim.slow, claim.fast))
    return f"{slow['median_ms'] / fast['median_ms']:.2f}" if slow and fast else "–"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FleetsegError as error:
        sys.exit(f"networks.py: {error}")
