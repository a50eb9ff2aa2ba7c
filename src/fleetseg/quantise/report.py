"""What int8 costs and gains beside fp32 and fp16, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetseg.evaluation import Evaluation
from fleetseg.quantise.search import Attempt, Sensitivity


@dataclass(frozen=True)
class PrecisionReport:
    """One precision of one format."""

    precision: str
    size_bytes: int
    #: Median of interleaved runs of one image through the file's own runtime.
    latency_ms: float
    #: Of all multiply-adds in convolutions, those that the runtime computes with 8-bit integers here.
    int8_share: float
    evaluation: Evaluation

    def drop(self, reference: PrecisionReport) -> float:
        """mIoU points lost against `reference`."""
        return 100 * (reference.evaluation.scores.miou - self.evaluation.scores.miou)

    def as_json(self, reference: PrecisionReport) -> dict[str, Any]:
        """Percentages as 0–100 numbers."""
        figures = self.evaluation.as_json("", "")
        return {
            "size_bytes": self.size_bytes,
            "latency_ms": round(self.latency_ms, 3),
            "int8_share_of_macs": round(100 * self.int8_share, 2),
            "miou": figures["miou"],
            "drop": round(self.drop(reference), 4),
            "class_iou": figures["class_iou"],
        }


@dataclass(frozen=True)
class QuantisationReport:
    """All of it."""

    model: str
    format: str
    #: (width, height) that was seen; None: each image's own.
    size: tuple[int, int] | None
    data: str
    threads: int
    calibration_images: int
    max_drop: float
    #: fp32, fp16 and int8, in this order.
    precisions: tuple[PrecisionReport, ...]
    float_layers: tuple[str, ...]
    #: Worst first; empty if it was not needed.
    sensitivity: tuple[Sensitivity, ...]
    attempts: tuple[Attempt, ...]
    files: dict[str, int]
    #: Epochs of fine-tuning that the weights of the int8 file saw; 0: none was needed or asked for.
    fine_tuned_epochs: int = 0

    @property
    def drop(self) -> float:
        """mIoU points that int8 loses against fp32."""
        return self.precisions[-1].drop(self.precisions[0])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        reference = self.precisions[0]
        return {
            "model": self.model,
            "format": self.format,
            "size": self.size,
            "data": self.data,
            "images": len(reference.evaluation.images),
            "threads": self.threads,
            "calibration_images": self.calibration_images,
            "max_drop": self.max_drop,
            "fine_tuned_epochs": self.fine_tuned_epochs,
            "files": self.files,
            "precisions": {one.precision: one.as_json(reference) for one in self.precisions},
            "float_layers": list(self.float_layers),
            "attempts": [
                {"float_layers": len(one.float_layers), "miou": round(100 * one.miou, 4)} for one in self.attempts
            ],
            "sensitivity": [
                {"layer": one.layer.name, "macs": one.layer.macs, "relative_error": one.error}
                for one in self.sensitivity
            ],
        }


def as_table(report: QuantisationReport) -> str:
    """The report as text: a table of precisions, one of classes, the worst layers."""
    reference = report.precisions[0]
    rows = [("", *(one.precision for one in report.precisions))]
    rows.append(("size, MiB", *(f"{one.size_bytes / 2**20:.2f}" for one in report.precisions)))
    rows.append(("latency, ms", *(f"{one.latency_ms:.1f}" for one in report.precisions)))
    rows.append(("multiply-adds in int8", *(f"{100 * one.int8_share:.1f}%" for one in report.precisions)))
    rows.append(("mIoU", *(f"{100 * one.evaluation.scores.miou:.2f}" for one in report.precisions)))
    rows.append(("lost", *(f"{one.drop(reference):.2f}" for one in report.precisions)))
    for index, name in enumerate(reference.evaluation.labels.names):
        values = (100 * float(one.evaluation.scores.iou[index]) for one in report.precisions)
        rows.append((f"IoU {name}", *("–" if value != value else f"{value:.2f}" for value in values)))
    lines = _aligned(rows)
    if report.float_layers:
        lines.append(f"float layers: {', '.join(report.float_layers)}")
    if report.sensitivity:
        lines.append("layers whose int8 changes the logits most (mean square, in parts of the logits'):")
        lines += [f"  {one.error:.2e}  {one.layer.name}" for one in report.sensitivity[:8]]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
