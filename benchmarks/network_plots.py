"""Accuracy against size and speed, and speed against image size, from results files (ESPNet's Fig. 5, 6 and 10).

    cd benchmarks
    python network_plots.py results/networks-*.json --accuracy results/accuracy-*.json --out ../docs/images

Reads what `benchmarks/networks.py` wrote on one machine, and files of accuracies (see benchmarks/results/README.md),
which later trainings extend. What several files measured counts as in the last of them. Writes accuracy-size.png,
accuracy-speed.png and size-speed.png; what there is no data for is not drawn, and said.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

#: One colour, marker and line a network, the same in every plot; ten colours that nobody mixes up, then others of both.
_COLOURS = plt.get_cmap("tab10").colors
_MARKERS = "osD^v"
_LINES = ("-", "--", ":", "-.", "-")
#: Points between the base lines of two labels.
_LINE_HEIGHT = 13


def main() -> int:
    """Draw all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--accuracy", nargs="*", type=Path, default=[])
    parser.add_argument("--size", default="640x360", help="image size of accuracy-speed.png")
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    records = [read(path, "machine", "results", "networks") for path in arguments.results]
    machine = machine_of(records)
    rows = last_measured(records)
    networks = [row for record in records for row in record["networks"]]
    accuracies = [read(path, "data", "split", "networks") for path in arguments.accuracy]
    arguments.out.mkdir(parents=True, exist_ok=True)
    style = {name: number for number, name in enumerate(by_speed(rows, [row["network"] for row in networks]))}
    draw_sizes(rows, style, machine, arguments.out / "size-speed.png")
    speeds = {name: frames(rows, name, arguments.size) for name in style}
    megabytes = {row["network"]: 4e-6 * row["parameters"] for row in networks}
    label = "network size in MB (10⁶ bytes, 4 a parameter)"
    draw_accuracy(accuracies, megabytes, style, label, "", arguments.out / "accuracy-size.png")
    label = f"frames a second at {arguments.size.replace('x', '×')}, one by one, fastest engine"
    draw_accuracy(accuracies, speeds, style, label, machine, arguments.out / "accuracy-speed.png")
    return 0


def read(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file with these keys; one sentence if it is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"network_plots.py: {path}: {error}")
    if not isinstance(record, dict) or not set(keys) <= set(record):
        sys.exit(f"network_plots.py: {path}: is another kind of file; {', '.join(keys)} are expected in it")
    return record


def machine_of(records: list[dict[str, Any]]) -> str:
    """Where they were measured and with how many threads, for a title; one sentence if not all on one machine."""
    machines = {(record["machine"]["processor"], record["machine"]["target"]) for record in records}
    if len(machines) != 1:
        sys.exit(f"network_plots.py: results of several machines: {', '.join(map(' '.join, sorted(machines)))}")
    threads = sorted({row["threads"] for record in records for row in record["results"]})
    (machine,) = machines
    return f"{' '.join(machine)}, {' or '.join(map(str, threads))} threads"


def last_measured(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results, those of a network and size from the last record alone that has any."""
    last = {(row["model"], row["size"]): number for number, record in enumerate(records) for row in record["results"]}
    return [
        row
        for number, record in enumerate(records)
        for row in record["results"]
        if last[row["model"], row["size"]] == number
    ]


def best_of(rows: list[dict[str, Any]], name: str, size: str) -> dict[str, Any] | None:
    """The fastest engine's result; None where nothing was measured."""
    found = [row for row in rows if (row["model"], row["size"]) == (name, size)]
    return min(found, key=lambda row: float(row["median_ms"]), default=None)


def frames(rows: list[dict[str, Any]], name: str, size: str) -> float | None:
    """Frames a second of the fastest engine; None where nothing was measured."""
    best = best_of(rows, name, size)
    return 1000 / best["median_ms"] if best else None


def by_speed(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Each name once, the one with the most pixels a second first: legends stand in the order of their lines."""
    most = dict.fromkeys(names, 0.0)
    for row in rows:
        if row["model"] in most:
            most[row["model"]] = max(most[row["model"]], pixels(row["size"]) / row["median_ms"])
    return sorted(most, key=lambda name: -most[name])


def look(number: int) -> dict[str, Any]:
    """Colour, marker and line."""
    turn = number // len(_COLOURS) % len(_MARKERS)
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[turn], "linestyle": _LINES[turn]}


def pixels(size: str) -> int:
    """Of WxH."""
    width, _, height = size.partition("x")
    return int(width) * int(height)


def draw_sizes(rows: list[dict[str, Any]], style: dict[str, int], machine: str, path: Path) -> None:
    """Fig. 10: frames a second over the image's size, one line a network; hollow where another engine was fastest."""
    sizes = sorted({row["size"] for row in rows}, key=pixels)
    figure, axes = plt.subplots(figsize=(9.5, 6.5), layout="constrained")
    handles = []
    for name, number in style.items():
        best = [found for size in sizes if (found := best_of(rows, name, size))]
        points = [(pixels(row["size"]) / 1e6, 1000 / row["median_ms"]) for row in best]
        if not points:
            continue
        handles.append(Line2D([], [], label=name, linewidth=1.2, markersize=5, **look(number)))
        axes.plot(*zip(*points, strict=True), linewidth=1.2, **{**look(number), "marker": ""})
        for row, (x, y) in zip(best, points, strict=True):
            hollow = {} if row["engine"] == "native" else {"markerfacecolor": "white"}
            axes.plot([x], [y], markersize=5.5, **hollow, **{**look(number), "linestyle": ""})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([pixels(size) / 1e6 for size in sizes], [size.replace("x", "×") for size in sizes], rotation=30)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    plain_numbers(axes.yaxis, (1, 2, 5))
    axes.minorticks_off()
    finish(axes, "image size", "frames a second, one by one, fastest engine")
    axes.set_title(f"{machine}\nfilled: fleetseg compile is the fastest engine; hollow: another is", fontsize=9)
    axes.legend(handles=handles, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)


def draw_accuracy(
    accuracies: list[dict[str, Any]],
    across: dict[str, float | None],
    style: dict[str, int],
    label: str,
    machine: str,
    path: Path,
) -> None:
    """Fig. 5 and 6: mIoU over size or speed; a panel a data set."""
    panels = [(record, points(record, across)) for record in accuracies]
    panels = [(record, found) for record, found in panels if found]
    if not panels:
        print(f"{path.name}: no network has both an accuracy and the other figure; not drawn", file=sys.stderr)
        return
    figure, grid = plt.subplots(1, len(panels), figsize=(6.5 * len(panels), 5), squeeze=False, layout="constrained")
    for axes, (record, found) in zip(grid[0], panels, strict=True):
        for name, _, x, y in found:
            axes.plot([x], [y], markersize=9, **{**look(style[name]), "linestyle": ""})
        axes.set_xscale("log")
        # Twice as far as the points on both sides: what hardly differs shall look so.
        axes.set_xlim(found[0][2] / 2, found[-1][2] * 2)
        plain_numbers(axes.xaxis, (1, 1.5, 2, 3, 5, 7))
        axes.minorticks_off()
        axes.margins(y=0.25)
        seen = f" at {record['size'].replace('x', '×')}" if "size" in record else ""
        finish(axes, label, f"mIoU in %, {record['data']} {record['split']}{seen}")
        axes.set_title(machine, fontsize=9)
        label_points(axes, found)
    save(figure, path)


def label_points(axes: Axes, found: list[tuple[str, str, float, float]]) -> None:
    """A label beside each point, towards the middle where points lie apart; labels too close above another move up."""
    axes.figure.canvas.draw()  # Only then is it known where the points are.
    points_a_pixel = 72 / axes.figure.dpi
    taken: dict[bool, float] = {}
    for _, text, x, y in sorted(found, key=lambda point: point[3]):
        right = found[-1][2] > 2 * found[0][2] and x * x > found[0][2] * found[-1][2]
        own = float(axes.transData.transform((x, y))[1]) * points_a_pixel
        height = max(own + 6, taken.get(right, -math.inf) + _LINE_HEIGHT)
        taken[right] = height
        place = {"xytext": (-8, height - own), "ha": "right"} if right else {"xytext": (8, height - own), "ha": "left"}
        axes.annotate(f"{text}, {y:.1f}", (x, y), textcoords="offset points", fontsize=9, **place)


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
