"""What the cards of packaged weights and of recipes share: a run's history, curves, commands, figures."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from fleetseg.atomic import replacing


def draw_curves(rows: list[dict[str, str]], path: Path) -> None:
    """Loss and validation mIoU over all epochs, stages marked."""
    matplotlib.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    epochs = np.arange(1, len(rows) + 1)
    left.plot(epochs, [float(row["loss"]) for row in rows], color="#1f5f9e")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    measured = [(epoch, float(row["miou"])) for epoch, row in zip(epochs, rows, strict=True) if row["miou"]]
    right.plot(*zip(*measured, strict=True), marker="o", markersize=3, color="#1f7a3d")
    right.set(xlabel="epoch", ylabel="mIoU on val, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        for index in range(1, len(rows)):
            if rows[index]["stage"] != rows[index - 1]["stage"]:
                axes.axvline(index + 0.5, color="grey", linestyle=":")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def commands_text(commands: list[str]) -> str:
    """A numbered list; what follows a # is said beside the command."""
    lines = []
    for number, line in enumerate(commands, 1):
        command, _, remark = line.partition(" # ")
        lines.append(f"{number}. `{command.strip()}`" + (f": {remark.strip()}" if remark else ""))
    return "\n".join(lines)


def scenes_text(recipes: list[dict[str, Any]]) -> str:
    """How many built-in scenes the stages mix in: one number, or the range."""
    counts = {
        recipe["data"]["scenes"] if stage.get("scenes") is None else stage["scenes"]
        for recipe in recipes
        for stage in recipe["stages"]
    }
    return str(*counts) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def cell(fraction: Any) -> str:
    """Percent with one digit more than matters."""
    return "–" if fraction != fraction else f"{100 * float(fraction):.2f}"


def stages_text(rows: list[dict[str, str]]) -> str:
    """Every stage with its epochs."""
    counts = [(stage, len(list(epochs))) for stage, epochs in groupby(row["stage"] for row in rows)]
    return ", ".join(f"{stage} {count} epoch{'s'[: count > 1]}" for stage, count in counts)


def hours(rows: list[dict[str, str]]) -> float:
    """Spent in epochs, validation not counted."""
    return sum(float(row["seconds"]) for row in rows) / 3600
