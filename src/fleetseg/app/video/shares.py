"""Class shares of every frame as a CSV file."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.atomic import replacing
from fleetseg.errors import OutputError
from fleetseg.labels import LabelSet


class SharesFile:
    """A line a frame: its number, its seconds, the part of its pixels (0–1) of each class; a context manager."""

    def __init__(self, path: Path, labels: LabelSet) -> None:
        self._path, self._labels, self._stack = path, labels, ExitStack()

    def __enter__(self) -> SharesFile:
        with ExitStack() as undo:
            temporary = undo.enter_context(replacing(self._path))
            # Line by line, so that a full disk is noticed where it happens.
            self._stream = undo.enter_context(temporary.open("w", buffering=1, newline="", encoding="utf-8"))
            self._writer = csv.writer(self._stream, lineterminator="\n")
            self._stack = undo.pop_all()
        self._line(["frame", "seconds", *self._labels.names])
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, number: int, seconds: float, shares: npt.NDArray[np.float64]) -> None:
        """Add a frame; `OutputError` if the disk is full."""
        self._line([number, f"{seconds:.6f}", *(f"{share:.6f}" for share in shares)])

    def _line(self, values: list[Any]) -> None:
        try:
            self._writer.writerow(values)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error
