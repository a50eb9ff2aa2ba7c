"""Live progress on stderr: a bar on a terminal, a line an epoch elsewhere."""

# ruff: noqa: ARG002 - the hooks' parameters are Lightning's
from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fleetseg.training.epoch_end import EpochClock
from fleetseg.training.module import TrainingModule


def stderr_console() -> Console:
    """Where progress goes."""
    return Console(file=sys.stderr)


def shows_bars(console: Console) -> bool:
    """Whether lines can be redrawn."""
    return console.is_terminal and not console.is_dumb_terminal


def track(numbers: range, what: str) -> Iterable[int]:
    """Iterate with a bar that goes away at the end; silent where no bar can be shown."""
    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shows_bars(console)) as progress:
        yield from progress.track(numbers, description=what)


class LiveProgress(pl.Callback):
    """Stage, epoch, loss, mIoU, images/s and time left. Stands before `EpochEnd`, which clears the scores."""

    def __init__(self, stage: str, epochs: int, clock: EpochClock, console: Console | None = None) -> None:
        self.stage = stage
        self.epochs = epochs
        self.clock = clock
        self.console = console or stderr_console()
        self.progress: Progress | None = None
        self.miou = "–"
        self._begin = time.monotonic()
        self._first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        assert isinstance(pl_module, TrainingModule)
        self._begin = time.monotonic()
        self._first_epoch = trainer.current_epoch
        if shows_bars(self.console):
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=self.console,
                # Steps take a second, validations a minute: over the usual 30 seconds the rest would jump.
                speed_estimate_period=600,
            )
            state = "compiling" if pl_module.precision_choice.compile else "starting"
            steps = pl_module.steps_per_epoch
            self.task = self.progress.add_task(
                self.stage, total=self.epochs * steps, completed=trainer.current_epoch * steps, state=state
            )
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.task, advance=1, state=self._state(trainer, pl_module))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far validation is."""
        if self.progress is not None:
            images = int(trainer.num_val_batches[0])
            state = f"{self._state(trainer, pl_module)}, validation {batch_idx + 1}/{images}"
            self.progress.update(self.task, state=state)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A line, where no bar is shown."""
        assert isinstance(pl_module, TrainingModule)
        if pl_module.scores is not None:
            self.miou = f"{100 * pl_module.scores.miou:.2f}"
        if self.progress is None:
            epochs = trainer.current_epoch + 1 - self._first_epoch
            left = (self.epochs - trainer.current_epoch - 1) * (time.monotonic() - self._begin) / epochs
            line = f"{self.stage} {self._state(trainer, pl_module)}, {duration(left)} left"
            print(line, file=self.console.file, flush=True)

    def _state(self, trainer: pl.Trainer, module: pl.LightningModule) -> str:
        assert isinstance(module, TrainingModule)
        rate = module.images / self.clock.training_seconds
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


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
