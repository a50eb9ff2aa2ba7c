"""What happens around the steps: resume point, history, best weights, live progress."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fleetseg.atomic import replacing, write_text
from fleetseg.metrics import Scores
from fleetseg.models.base import SegmentationNetwork
from fleetseg.training.module import TrainingModule

#: Called with the network, the stage, the epoch (from 1) and its scores; saves weights.
SaveWeights = Callable[[SegmentationNetwork, str, int, Scores | None], None]

COLUMNS = ("stage", "epoch", "loss", "miou", "global_accuracy", "learning_rate", "images_per_second", "seconds")


class History:
    """`history.csv`: a row an epoch, rewritten whole so that a kill leaves no half row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def add(self, row: dict[str, Any]) -> None:
        """Append; rows of the same or a later epoch of the stage (from before a kill) are replaced."""
        self.rows = [
            old for old in self.rows if old["stage"] != row["stage"] or int(old["epoch"]) < int(row["epoch"])
        ]
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


class EpochEnd(pl.Callback):
    """Once an epoch: history row, TensorBoard scalars, weights, then the resume point last.

    The resume point is written after everything else, so that a kill in between repeats the epoch instead of
    losing what belongs to it.
    """

    def __init__(self, stage: str, resume_point: Path, history: History, save: SaveWeights) -> None:
        self.stage = stage
        self.resume_point = resume_point
        self.history = history
        self.save = save
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation, if it was due, has already run."""
        assert isinstance(pl_module, TrainingModule)
        seconds = time.monotonic() - self._started
        epoch = trainer.current_epoch + 1
        scores, pl_module.scores = pl_module.scores, None
        images = pl_module.batches * pl_module.stage.batch_size
        row = {
            "stage": self.stage,
            "epoch": epoch,
            "loss": pl_module.mean_loss,
            "miou": 100 * scores.miou if scores else None,
            "global_accuracy": 100 * scores.global_accuracy if scores else None,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "images_per_second": images / seconds,
            "seconds": seconds,
        }
        self.history.add(row)
        self._log(trainer, row)
        self.save(pl_module.best_network, self.stage, epoch, scores)
        with replacing(self.resume_point) as temporary:
            trainer.save_checkpoint(temporary)

    def _log(self, trainer: pl.Trainer, row: dict[str, Any]) -> None:
        values = {f"{self.stage}/{key}": value for key, value in row.items() if isinstance(value, float)}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=row["epoch"])


class LiveProgress(pl.Callback):
    """A bar on a terminal, a line an epoch elsewhere: loss, mIoU, images/s, time left."""

    def __init__(self, stage: str, epochs: int) -> None:
        self.stage = stage
        self.epochs = epochs
        self.console = Console(file=sys.stderr)
        self.progress: Progress | None = None
        self.miou = "–"
        self._begin = time.monotonic()
        self._first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        self._begin = time.monotonic()
        self._first_epoch = trainer.current_epoch
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            total = self.epochs * int(trainer.num_training_batches)
            done = trainer.current_epoch * int(trainer.num_training_batches)
            self.task = self.progress.add_task(self.stage, total=total, completed=done, state="")
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self.progress is not None:
            assert isinstance(pl_module, TrainingModule)
            self.progress.update(self.task, advance=1, state=self._state(trainer, pl_module))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A line, where no bar is shown. Runs before `EpochEnd`, which clears the scores."""
        assert isinstance(pl_module, TrainingModule)
        if pl_module.scores is not None:
            self.miou = f"{100 * pl_module.scores.miou:.2f}"
        if self.progress is None:
            done = trainer.current_epoch + 1 - self._first_epoch
            left = (self.epochs - trainer.current_epoch - 1) * (time.monotonic() - self._begin) / done
            print(
                f"{self.stage} {self._state(trainer, pl_module)}, {left / 60:.1f} min left", file=sys.stderr, flush=True
            )

    def _state(self, trainer: pl.Trainer, module: TrainingModule) -> str:
        elapsed = max(1e-9, time.monotonic() - self._begin)
        steps = (trainer.current_epoch - self._first_epoch) * module.steps_per_epoch + module.batches
        rate = steps * module.stage.batch_size / elapsed
        return (
            f"epoch {trainer.current_epoch + 1}/{self.epochs}, loss {module.mean_loss:.3f}, "
            f"mIoU {self.miou}, {rate:.1f} images/s"
        )

    def close(self) -> None:
        """Stop drawing, whatever happened."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar before the error is printed."""
        self.close()
