"""What happens once an epoch: history row, scalars, weights, resume point; and when validation is due."""

# ruff: noqa: ARG002 - the hooks' parameters are Lightning's
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from fleetseg.metrics import Scores
from fleetseg.models.base import SegmentationNetwork
from fleetseg.training.history import History
from fleetseg.training.loader import EpochSampler
from fleetseg.training.module import TrainingModule
from fleetseg.training.resume_point import finished_epochs

#: Called with the network, the stage, the epoch (from 1) and its scores; saves weights.
SaveWeights = Callable[[SegmentationNetwork, str, int, Scores | None], None]

#: Called with the stage, the epoch (from 1) and its scores.
Watch = Callable[[str, int, Scores], None]


class EpochClock(pl.Callback):
    """Seconds of the running epoch, validation apart."""

    def __init__(self) -> None:
        self._started = self._validation_started = time.monotonic()
        self.validation_seconds = 0.0
        self._validating = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self._started = time.monotonic()
        self.validation_seconds = 0.0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop counting training."""
        self._validation_started = time.monotonic()
        self._validating = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count training again."""
        self.validation_seconds += time.monotonic() - self._validation_started
        self._validating = False

    @property
    def seconds(self) -> float:
        """Since the epoch's start."""
        return time.monotonic() - self._started

    @property
    def training_seconds(self) -> float:
        """Since the epoch's start, without validation; above 0."""
        running = time.monotonic() - self._validation_started if self._validating else 0.0
        return max(1e-9, self.seconds - self.validation_seconds - running)


class ValidationTurns(pl.Callback):
    """Validation every `interval` epochs and after the last one."""

    def __init__(self, interval: int, epochs: int) -> None:
        self.interval = interval
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set Lightning's interval for the epoch that starts: 1, which is always due, in the last one."""
        last = trainer.current_epoch + 1 == self.epochs
        trainer.check_val_every_n_epoch = 1 if last else self.interval


class EpochEnd(pl.Callback):
    """Once an epoch: history row, TensorBoard scalars, weights, then the resume point last.

    The resume point is written after everything else, so that a kill in between repeats the epoch instead of
    losing what belongs to it.
    """

    def __init__(
        self,
        resume_point: Path,
        history: History,
        save: SaveWeights,
        clock: EpochClock,
        sampler: EpochSampler,
        classes: Sequence[str],
        watch: Watch | None = None,
    ) -> None:
        self.resume_point = resume_point
        self.history = history
        self.save = save
        self.clock = clock
        self.sampler = sampler
        self.classes = classes
        self.watch = watch

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lightning starts the first epoch's workers before it tells the sampler which epoch it is."""
        self.sampler.set_epoch(finished_epochs(checkpoint))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation, if it was due, has already run. `TrainingError` if a weight is no number any more."""
        assert isinstance(pl_module, TrainingModule)
        if not all_finite(pl_module):
            raise pl_module.diverged("a weight became infinite or no number")
        epoch = trainer.current_epoch + 1
        scores, pl_module.scores = pl_module.scores, None
        if trainer.is_global_zero:
            row = self._row(pl_module, epoch, scores)
            self.history.add(row)
            log_scalars(trainer, row, scores, self.classes)
            self.save(pl_module.best_network, pl_module.stage.name, epoch, scores)
        # Every process: they wait for each other, the first one writes.
        trainer.save_checkpoint(self.resume_point)
        if self.watch is not None and scores is not None and trainer.is_global_zero:
            self.watch(pl_module.stage.name, epoch, scores)

    def _row(self, module: TrainingModule, epoch: int, scores: Scores | None) -> dict[str, Any]:
        return {
            "stage": module.stage.name,
            "epoch": epoch,
            "loss": module.mean_loss,
            "miou": 100 * scores.miou if scores else None,
            "global_accuracy": 100 * scores.global_accuracy if scores else None,
            "learning_rate": module.learning_rate,
            "images_per_second": module.images / self.clock.training_seconds,
            "seconds": self.clock.seconds,
            "validation_seconds": self.clock.validation_seconds,
        }


def all_finite(module: torch.nn.Module) -> bool:
    """Whether every weight and running statistic is a number."""
    values = (value for value in module.state_dict().values() if value.is_floating_point())
    return all(bool(torch.isfinite(value).all()) for value in values)


def log_scalars(trainer: pl.Trainer, row: dict[str, Any], scores: Scores | None, classes: Sequence[str]) -> None:
    """The row's numbers as TensorBoard scalars STAGE/COLUMN, each class's IoU in percent as STAGE/iou/CLASS."""
    stage = row["stage"]
    values = {f"{stage}/{key}": value for key, value in row.items() if isinstance(value, float)}
    if scores is not None:
        values |= {f"{stage}/iou/{name}": 100 * float(iou) for name, iou in zip(classes, scores.iou, strict=True)}
    for logger in trainer.loggers:
        logger.log_metrics(values, step=row["epoch"])
        logger.experiment.flush()  # type: ignore[attr-defined]
