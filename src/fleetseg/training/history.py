"""`history.csv`: what each epoch gave."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from fleetseg.atomic import write_text

#: loss: mean over the epoch's batches. miou, global_accuracy: percent, on the validation split, empty where
#: it was not run. learning_rate: at the epoch's first step. images_per_second: of training alone. seconds: of
#: the whole epoch, validation_seconds of it for validation.
COLUMNS = (
    "stage",
    "epoch",
    "loss",
    "miou",
    "global_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
    "validation_seconds",
)


class History:
    """A row an epoch; the file is rewritten whole each time, so that a kill leaves no half row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [{key: row.get(key) or "" for key in COLUMNS} for row in csv.DictReader(file)]

    def add(self, row: dict[str, Any]) -> None:
        """Append; rows of the same or a later epoch of the stage (from before a kill) are replaced."""
        self.rows = [old for old in self.rows if old["stage"] != row["stage"] or int(old["epoch"]) < int(row["epoch"])]
        self.rows.append({key: _format(row.get(key)) for key in COLUMNS})
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _format(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
