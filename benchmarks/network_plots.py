"""Accuracy against size and speed, and speed against image size, from results files (ESPNet's Fig. 5, 6 and 10).

    cd benchmarks
    python network_plots.py results/networks-*.json --accuracy results/accuracy-*.json --out ../docs/images

Reads what `benchmarks/networks.py` wrote, and files of accuracies (see benchmarks/results/README.md), which later
trainings extend. Writes accuracy-size.png, accuracy-speed.png and size-speed.png; what there is no data for is not
drawn, and said.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator

#: One colour and marker a network, the same in every plot; ten that nobody mixes up, then the next marker.
_COLOURS = plt.get_cmap("tab10").colors
_MARKERS = "osD^v"


def main() -> int:
    """Draw all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--accuracy", nargs="*", type=Path, default=[])
    parser.add_argument("--size", default="640x360", help="image size of accuracy-speed.png")
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    records = [read(path) for path in arguments.results]
    rows = [row for record in records for row in record["results"]]
    networks = [row for record in records for row in record.get("networks", [])]
    accuracies = [(read(path), path) for path in arguments.accuracy]
    arguments.out.mkdir(parents=True, exist_ok=True)
    style = {name: number for number, name in enumerate(by_speed(rows, [row["network"] for row in networks]))}
    draw_sizes(rows, style, arguments.out / "size-speed.png")
    speeds = {name: frames(rows, name, arguments.size) for name in style}
    megabytes = {row["network"]: 4e-6 * row["parameters"] for row in networks}
    draw_accuracy(
        accuracies, megabytes, style, "network size in MB (4 bytes a parameter)", arguments.out / "accuracy-size.png"
    )
    label = f"frames a second at {arguments.size.replace('x', '×')}, fastest engine"
    draw_accuracy(accuracies, speeds, style, label, arguments.out / "accuracy-speed.png")
    return 0


def read(path: Path) -> dict[str, Any]:
    """A JSON file; one sentence if it is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"network_plots.py: {path}: {error}")
    return record


def frames(rows: list[dict[str, Any]], name: str, size: str) -> float | None:
    """Frames a second of the fastest engine; None where nothing was measured."""
    times = [row["median_ms"] for row in rows if (row["model"], row["size"]) == (name, size)]
    return 1000 / min(times) if times else None


def by_speed(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Each name once, the one with the most pixels a second first: legends stand in the order of their lines."""
    most = dict.fromkeys(names, 0.0)
    for row in rows:
        if row["model"] in most:
            most[row["model"]] = max(most[row["model"]], pixels(row["size"]) / row["median_ms"])
    return sorted(most, key=lambda name: -most[name])


def look(number: int) -> dict[str, Any]:
    """Colour and marker."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number // len(_COLOURS) % len(_MARKERS)],
    }


def pixels(size: str) -> int:
    """Of WxH."""
    width, _, height = size.partition("x")
    return int(width) * int(height)


def draw_sizes(rows: list[dict[str, Any]], style: dict[str, int], path: Path) -> None:
    """Fig. 10: frames a second over the image's size, one line a network."""
    sizes = sorted({row["size"] for row in rows}, key=pixels)
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for name, number in style.items():
        points = [(pixels(size) / 1e6, frames(rows, name, size), size) for size in sizes]
        found = [(x, y) for x, y, _ in points if y is not None]
        if found:
            axes.plot(*zip(*found, strict=True), label=name, linewidth=1.2, markersize=5, **look(number))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([pixels(size) / 1e6 for size in sizes], [size.replace("x", "×") for size in sizes], rotation=30)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    plain_numbers(axes.yaxis, (1, 2, 5))
    axes.minorticks_off()
    finish(axes, "image size", "frames a second, fastest engine")
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)


def draw_accuracy(
    accuracies: list[tuple[dict[str, Any], Path]],
    across: dict[str, float | None],
    style: dict[str, int],
    label: str,
    path: Path,
) -> None:
    """Fig. 5 and 6: mIoU over size or speed; a panel a data set."""
    panels = [(record, points(record, across)) for record, _ in accuracies]
    panels = [(record, found) for record, found in panels if found]
    if not panels:
        print(f"{path.name}: no network has both an accuracy and the other figure; not drawn", file=sys.stderr)
        return
    figure, grid = plt.subplots(1, len(panels), figsize=(6.5 * len(panels), 5), squeeze=False, layout="constrained")
    for axes, (record, found) in zip(grid[0], panels, strict=True):
        for name, text, x, y in found:
            axes.plot([x], [y], linestyle="none", markersize=9, **look(style[name]))
            # Where the points lie apart, towards the middle, so that no label leaves the picture.
            right = found[-1][2] > 2 * found[0][2] and x * x > found[0][2] * found[-1][2]
            place = {"xytext": (-8, 6), "ha": "right"} if right else {"xytext": (8, 6), "ha": "left"}
            axes.annotate(f"{text}, {y:.1f}", (x, y), textcoords="offset points", fontsize=9, **place)
        axes.set_xscale("log")
        # Twice as far as the points on both sides: what hardly differs shall look so.
        axes.set_xlim(found[0][2] / 2, found[-1][2] * 2)
        plain_numbers(axes.xaxis, (1, 1.5, 2, 3, 5, 7))
        axes.minorticks_off()
        axes.margins(y=0.25)
        finish(axes, label, f"mIoU in %, {record['data']} {record['split']}")
    save(figure, path)


def points(record: dict[str, Any], across: dict[str, float | None]) -> list[tuple[str, str, float, float]]:
    """Network, label, x and mIoU of what has both; x ascends."""
    found = []
    for entry in record["networks"]:
        x = across.get(entry["network"])
        if x is not None:
            found.append((entry["network"], entry.get("label", entry["network"]), x, entry["miou"]))
    return sorted(found, key=lambda point: point[2])


def plain_numbers(axis: Axis, digits: tuple[float, ...]) -> None:
    """Ticks at `digits` times each power of ten, written out."""
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter("{x:g}")


def finish(axes: Axes, x: str, y: str) -> None:
    """Labels and a grid."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3, which="both")


def save(figure: Any, path: Path) -> None:
    """Write and say so."""
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
