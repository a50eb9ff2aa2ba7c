"""Validation mIoU of several runs, over epochs and over hours, as a picture. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from fleetseg.atomic import replacing
from fleetseg.training.run_summary import RunSummary


def plot_runs(runs: Sequence[RunSummary], path: Path) -> None:
    """Write a PNG; encoder stages, whose mIoU is another network's, are left out. `OutputError` if that fails."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    by_epoch, by_hour = figure.subplots(1, 2, sharey=True)
    for run in runs:
        whole = {stage.name for stage in run.recipe.stages if stage.part == "network"}
        hours = accumulate(epoch.seconds / 3600 for epoch in run.epochs)
        scored = [
            (epoch.overall, hour, epoch.miou)
            for epoch, hour in zip(run.epochs, hours, strict=True)
            if epoch.miou is not None and epoch.stage in whole
        ]
        name = run.folder.resolve().name
        for axes, column in ((by_epoch, 0), (by_hour, 1)):
            axes.plot([row[column] for row in scored], [row[2] for row in scored], marker=".", label=name)
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_epoch.set(xlabel="epoch, all stages", ylabel="validation mIoU, %")
    by_hour.set(xlabel="hours")
    for axes in (by_epoch, by_hour):
        axes.grid(alpha=0.3)
    if len(runs) <= 12:
        by_epoch.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
