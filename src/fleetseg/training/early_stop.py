"""Ending a stage whose validation no longer improves."""

# ruff: noqa: ARG002 - the hooks' parameters are Lightning's
from __future__ import annotations

import pytorch_lightning as pl

from fleetseg.training.history import History
from fleetseg.training.recipe import StageSection


class EarlyStop(pl.Callback):
    """Asks the trainer to stop; stands after `EpochEnd`, which writes the history it reads.

    All it knows is the history, so a resumed run decides as an uninterrupted one does.
    """

    def __init__(self, stage: StageSection, history: History) -> None:
        self.stage = stage
        self.history = history

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After every epoch."""
        stop = self.stage.patience is not None and last_epoch(self.stage, self.history) <= trainer.current_epoch + 1
        # The first of several processes alone knows the history.
        trainer.should_stop |= trainer.strategy.reduce_boolean_decision(stop, all=False)


def last_epoch(stage: StageSection, history: History) -> int:
    """The epoch (from 1) after which the stage ends, as far as its history tells."""
    if stage.patience is None:
        return stage.epochs
    best, waited = -1.0, 0
    for row in history.rows:
        if row["stage"] != stage.name or not row["miou"]:
            continue
        miou = float(row["miou"])
        best, waited = (miou, 0) if miou > best else (best, waited + 1)
        if waited == stage.patience:
            return int(row["epoch"])
    return stage.epochs
