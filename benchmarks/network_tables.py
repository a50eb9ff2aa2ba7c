"""Tables of what `benchmarks/networks.py` measured, as Markdown: those of docs/networks.md.

    python benchmarks/network_tables.py benchmarks/results/networks-PROCESSOR-DATE.json --size 640x360 --size 1024x512

For each --size (default: every one in the file) all networks with PyTorch, the fastest engine and ENet's time; then the
ratios that the two papers print beside ours; then how many times as fast as the fastest other engine the compiled
library is; then what was left out, and why. "native" is `fleetseg compile`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Result = dict[str, Any]

_ENGINES = {"native": "native", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}


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
    Claim("enet", "espnet", "1024x512", "about 1", "ESPNet, section 4.4, TX2"),
    Claim("erfnet", "espnet", "1024x512", "about 3", "ESPNet, section 4.4, TX2"),
)


def fastest(results: Iterable[Result]) -> Result | None:
    """The result with the least median."""
    return min(results, key=lambda result: float(result["median_ms"]), default=None)


def of(record: Record, name: str, size: str, engine: str = "") -> list[Result]:
    """Results of a network at a size, of one engine in float32 if asked for."""
    rows = [row for row in record["results"] if (row["model"], row["size"]) == (name, size)]
    return [row for row in rows if not engine or (row["engine"], row["precision"]) == (engine, "fp32")]


def ratio_of(record: Record, claim: Claim, engine: str) -> str:
    """Our ratio for a paper's; – where one of both was not measured."""
    slow, fast = (fastest(of(record, name, claim.size, engine)) for name in (claim.slow, claim.fast))
    return f"{slow['median_ms'] / fast['median_ms']:.2f}" if slow and fast else "–"


def sizes_of(record: Record) -> list[str]:
    """Every size in the record, the smallest first."""
    return sorted({row["size"] for row in record["networks"]}, key=pixels)


def pixels(size: str) -> int:
    """Of WxH."""
    width, _, height = size.partition("x")
    return int(width) * int(height)


def print_tables(record: Record) -> None:
    """For people: of each size PyTorch, the fastest engine, and both against ENet; then the papers' ratios."""
    for size in sizes_of(record):
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


def markdown(record: Record, sizes: Sequence[str]) -> Iterator[str]:
    """The lines of the page."""
    for size in sizes:
        yield from _of_size(record, size)
    yield from _ratios(record)
    yield from _against_others(record)
    yield from _left_out(record)


def _of_size(record: Record, size: str) -> Iterator[str]:
    heading = (
        f"| {size.replace('x', '×')} | GMACs | PyTorch fp32, ms | fastest engine, ms | speed-up | times ENet's time |"
    )
    yield from (heading, "|---|---|---|---|---|---|")
    reference = fastest(of(record, "enet", size))
    rows = [row for row in record["networks"] if row["size"] == size]
    for row in sorted(rows, key=lambda row: float(row["gmacs"])):
        results = of(record, row["network"], size)
        best, slow = fastest(results), fastest(of(record, row["network"], size, "torch"))
        if best is None:
            continue
        cells = (
            f"`{row['network']}`",
            short(row["gmacs"]),
            short(slow["median_ms"]) if slow else "–",
            f"{short(best['median_ms'])} ({_fastest_note(results, best)})",
            short(slow["median_ms"] / best["median_ms"], 2) if slow else "–",
            short(best["median_ms"] / reference["median_ms"], 2) if reference else "–",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _fastest_note(results: Sequence[Result], best: Result) -> str:
    """The engine; beside another than ours, what ours takes."""
    native = fastest(row for row in results if row["engine"] == "native")
    if best["engine"] == "native":
        return _engine(best)
    ours = f"{_engine(native)} {short(native['median_ms'])}" if native else "native not measured"
    return f"{_engine(best)}; {ours}"


def _ratios(record: Record) -> Iterator[str]:
    yield from ("| times as long | printed | PyTorch | fastest engine of each | where |", "|---|---|---|---|---|")
    for claim in CLAIMS:
        found = [ratio_of(record, claim, engine) for engine in ("torch", "")]
        label = f"`{claim.slow}` / `{claim.fast}`, {claim.size.replace('x', '×')}"
        yield f"| {label} | {claim.printed} | {found[0]} | {found[1]} | {claim.where} |"
    yield ""


def _against_others(record: Record) -> Iterator[str]:
    """The fastest other engine's time over the native engine's, and the latter; a column a size."""
    sizes = [
        size for size in sizes_of(record) if any(_pair(record, row["network"], size) for row in record["networks"])
    ]
    if not sizes:
        return
    yield f"| times as fast (native ms) | {' | '.join(size.replace('x', '×') for size in sizes)} |"
    yield f"|---|{'---|' * len(sizes)}"
    names = dict.fromkeys(row["network"] for row in sorted(record["networks"], key=lambda row: float(row["gmacs"])))
    others: dict[str, int] = {}
    for name in names:
        pairs = [_pair(record, name, size) for size in sizes]
        for pair in filter(None, pairs):
            others[_engine(pair[1])] = others.get(_engine(pair[1]), 0) + 1
        cells = [
            f"{short(pair[1]['median_ms'] / pair[0]['median_ms'], 2)} ({short(pair[0]['median_ms'])})" if pair else "–"
            for pair in pairs
        ]
        if any(pairs):
            yield f"| `{name}` | {' | '.join(cells)} |"
    counts = sorted(others.items(), key=lambda item: -item[1])
    yield from ("", f"The fastest other engine: {', '.join(f'{name} {count} times' for name, count in counts)}.", "")


def _pair(record: Record, name: str, size: str) -> tuple[Result, Result] | None:
    """The native engine's best result and the best of the others; None where one of them is not there."""
    results = of(record, name, size)
    native = fastest(row for row in results if row["engine"] == "native")
    other = fastest(row for row in results if row["engine"] != "native")
    return (native, other) if native and other else None


def _left_out(record: Record) -> Iterator[str]:
    """A line a reason."""
    reasons: dict[str, list[str]] = {}
    for row in record.get("skipped", []):
        place = f"`{row['model']}` {row['size'].replace('x', '×')}"
        what = place if row["engine"] == "all" else f"{place} on {row['engine']} {row['precision']}".rstrip()
        reasons.setdefault(row["reason"], []).append(what)
    for reason, places in reasons.items():
        yield f"Left out: {', '.join(places)}: {reason}."


def _engine(result: Result) -> str:
    """Name and precision; "native" alone is bf16, which the compiler is for where a processor has it."""
    name = _ENGINES.get(result["engine"], result["engine"])
    return name if (name, result["precision"]) == ("native", "bf16") else f"{name} {result['precision']}"


def short(number: float, digits: int = 3) -> str:
    """With that many significant digits; whole numbers keep all of theirs."""
    return f"{number:,.{max(0, digits - 1 - math.floor(math.log10(number)))}f}"


def main() -> int:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what benchmarks/networks.py --json wrote")
    parser.add_argument("--size", action="append", help="WxH of a table of all networks; may be repeated")
    arguments = parser.parse_args()
    try:
        record = json.loads(arguments.results.read_text(encoding="utf-8"))
        measured = sizes_of(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"network_tables.py: {arguments.results}: no file of benchmarks/networks.py ({error})")
    for size in arguments.size or ():
        if size not in measured:
            sys.exit(f"network_tables.py: --size {size}: not in {arguments.results}, which has {', '.join(measured)}")
    print("\n".join(markdown(record, arguments.size or measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
