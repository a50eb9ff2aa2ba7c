"""What ``fleetseg evaluate`` prints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetseg.evaluation import Comparison, Evaluation


def print_tables(result: Evaluation, metrics: Collection[str]) -> None:
    """A row a class, then the means, then what else was measured."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = _columns(result, metrics)
    table = Table("class", *columns)
    for column in table.columns[1:]:
        column.justify = "right"
    for class_id, name in enumerate(result.labels.names):
        table.add_row(Text(name), *(percent_text(values[class_id]) for values, _ in columns.values()))
    table.add_section()
    table.add_row("mean", *(percent_text(mean) for _, mean in columns.values()))
    Console().print(table)
    if result.measures.categories:
        _print_categories(result)
    for line in _lines(result, metrics):
        print(line)


def _columns(result: Evaluation, metrics: Collection[str]) -> dict[str, tuple[list[float], float]]:
    """Heading → a value a class and their mean."""
    from fleetseg.evaluation.report import mean_of

    scores = result.scores
    columns = {
        "IoU": (scores.iou.tolist(), scores.miou),
        "accuracy": (scores.accuracy.tolist(), scores.class_average_accuracy),
    }
    if "precision" in metrics:
        columns["precision"] = _with_mean(scores.precision.tolist())
    if result.measures.instances is not None:
        iiou = result.class_iiou()
        columns["iIoU"] = [iiou.get(name, float("nan")) for name in result.labels.names], mean_of(iiou)
    if result.measures.boundary is not None:
        columns["boundary F1"] = _with_mean(result.measures.boundary.f1().tolist())
    return columns


def _with_mean(values: list[float]) -> tuple[list[float], float]:
    present = [value for value in values if value == value]
    return values, sum(present) / len(present) if present else float("nan")


def _print_categories(result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fleetseg.evaluation.report import mean_of

    columns = [result.category_iou()]
    table = Table("category", "IoU")
    if result.measures.instances is not None:
        columns.append(result.category_iiou())
        table.add_column("iIoU")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in columns[0]:
        table.add_row(Text(name), *(percent_text(values[name]) for values in columns))
    table.add_section()
    table.add_row("mean", *(percent_text(mean_of(values)) for values in columns))
    Console().print(table)


def _lines(result: Evaluation, metrics: Collection[str]) -> list[str]:
    scores, measures = result.scores, result.measures
    lines = [
        f"mIoU {percent_text(scores.miou)}   class average accuracy {percent_text(scores.class_average_accuracy)}   "
        f"global accuracy {percent_text(scores.global_accuracy)}"
    ]
    if "interval" in metrics:
        interval = result.interval()
        lines.append(
            f"mIoU lies between {percent_text(interval.low)} and {percent_text(interval.high)} "
            f"({100 * interval.level:.0f}% bootstrap interval over the images)"
        )
    if "precision" in metrics:
        lines.append(f"frequency-weighted IoU {percent_text(scores.frequency_weighted_iou)}")
    if measures.trimap is not None:
        lines.append(f"mIoU near borders: {_bands(measures.trimap.miou())}")
    if measures.calibration is not None:
        lines.append(f"expected calibration error {percent_text(measures.calibration.error())}")
    if scores.absent():
        names = ", ".join(result.labels.names[class_id] for class_id in scores.absent())
        lines.append(f"in neither labels nor predictions, so in no mean: {names}")
    if result.uncounted:
        share = result.uncounted / (result.uncounted + int(scores.counts[:-1].sum()))
        lines.append(
            f"{percent_text(share)}% of the labelled pixels not counted: the network's class there has no group"
        )
    return lines


def _bands(miou: Mapping[int, float]) -> str:
    return ", ".join(f"{percent_text(value)} within {width} px" for width, value in miou.items())


def print_comparison(first: str, second: str, comparison: Comparison) -> None:
    """One sentence: difference, interval, p-value."""
    test = comparison.test
    print(
        f"{first} less {second}: mIoU {100 * test.difference.value:+.2f}, 95% interval "
        f"{100 * test.difference.low:+.2f} to {100 * test.difference.high:+.2f}, p = {test.p_value:.4f} "
        f"(paired over {test.images} images)"
    )


def percent_text(fraction: float) -> str:
    """0–1 → per cent with two places; a dash for NaN."""
    return "–" if fraction != fraction else f"{100 * fraction:.2f}"
