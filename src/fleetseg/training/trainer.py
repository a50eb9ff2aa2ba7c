"""Lightning's trainer as fleetseg uses it, for one process or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from fleetseg.training.collectives import TIMEOUT
from fleetseg.training.processes import Processes
from fleetseg.training.recipe import StageSection
from fleetseg.training.resume_point import ResumePointIO


def make_trainer(
    stage: StageSection, epochs: int, out: Path, callbacks: list[pl.Callback], processes: Processes
) -> pl.Trainer:
    """A trainer of `epochs` epochs whose resume points, bars and files are `callbacks`' affair, not its own."""
    return pl.Trainer(
        max_epochs=epochs,
        accumulate_grad_batches=stage.optimiser.accumulate,
        gradient_clip_val=stage.optimiser.clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        default_root_dir=str(out),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **_devices(processes),
    )


def _devices(processes: Processes) -> dict[str, Any]:
    if processes.world == 1:
        return {"devices": 1, "accelerator": "auto", "plugins": [ResumePointIO()]}
    return {
        "devices": processes.local_world,
        "num_nodes": processes.nodes,
        "accelerator": "gpu" if torch.cuda.is_available() else "cpu",
        # BatchNorm's statistics stay each process's own until `SharedStatistics` takes their mean.
        "strategy": DDPStrategy(broadcast_buffers=False, timeout=TIMEOUT),
        "plugins": [ResumePointIO(), TorchElasticEnvironment()],
    }
