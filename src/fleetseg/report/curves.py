"""Loss, validation mIoU and learning rate over a run's epochs."""

from __future__ import annotations

from collections.abc import Callable

from fleetseg.report.charts import Chart, Line
from fleetseg.training.run_summary import Epoch, RunSummary

_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")


def run_charts(run: RunSummary) -> list[Chart]:
    """Three charts over the epochs of all stages; a stage has one colour and a mark where it begins."""
    return [
        _chart(run, "Training loss", lambda epoch: epoch.loss, "loss {:.4f}"),
        _chart(run, "Validation mIoU, %", lambda epoch: epoch.miou, "mIoU {:.2f}"),
        _chart(run, "Learning rate", lambda epoch: epoch.learning_rate, "{:.3g}", logarithmic=True),
    ]


def _chart(
    run: RunSummary, title: str, value_of: Callable[[Epoch], float | None], text: str, logarithmic: bool = False
) -> Chart:
    names = list(dict.fromkeys(epoch.stage for epoch in run.epochs))
    lines = []
    for number, name in enumerate(names):
        points, notes = [], []
        for epoch in run.epochs:
            value = value_of(epoch)
            if epoch.stage == name and value is not None:
                points.append((float(epoch.overall), value))
                notes.append(f"{name}, epoch {epoch.number}: {text.format(value)}")
        lines.append(Line(points, _COLOURS[number % len(_COLOURS)], notes))
    firsts = [next(epoch for epoch in run.epochs if epoch.stage == name) for name in names]
    marks = [(float(epoch.overall), epoch.stage) for epoch in firsts]
    extent = (1.0, float(len(run.epochs)))
    return Chart(title, "epoch", lines, marks=marks, logarithmic=logarithmic, extent=extent)
