"""What the processes of a training say to each other: sums, waiting, and noticing that one is gone."""

from __future__ import annotations

import datetime
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor

from fleetseg.errors import TrainingError, UsageError
from fleetseg.training.processes import Processes, end_with_the_starter

#: A slower process may read images or evaluate meanwhile.
TIMEOUT = datetime.timedelta(hours=1)


class OtherProcessEndedError(TrainingError):
    """Another process of the training is gone; it has said why itself."""


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Meet the other processes, and part at the end; nothing for a single one.

    gloo on processors, NCCL on GPUs. A group that Ray Train has made already is used and left as it is.
    `UsageError` if there are fewer GPUs than processes, `OtherProcessEndedError` if one goes away.
    """
    if processes.world == 1:
        yield
        return
    end_with_the_starter()
    if torch.cuda.is_available() and torch.cuda.device_count() < processes.local_world:
        raise UsageError(
            f"{processes.local_world} processes on this machine need as many GPUs; it has {torch.cuda.device_count()}"
        )
    ours = not dist.is_initialized()
    with noticing_lost_processes():
        if ours:
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
        yield
    if ours:
        # What DDP left behind owns the group too. Were it the last owner, it would wait for the group's threads while
        # it holds Python's lock, which they need to let go of their tensors: torch then hangs or aborts at the end.
        gc.collect()
        dist.destroy_process_group()


@contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """`OtherProcessEndedError` for what torch raises when a process that it waits for is gone."""
    try:
        yield
    except RuntimeError as error:
        if is_lost_process(error):
            raise OtherProcessEndedError("another process of this training ended, so this one cannot go on") from error
        raise


def is_lost_process(error: RuntimeError) -> bool:
    """Whether torch complains about a broken connection to another process."""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def wait_for_all(processes: Processes) -> None:
    """Return when every process has come here."""
    if processes.world > 1:
        dist.barrier()


def total(processes: Processes, values: Tensor) -> Tensor:
    """`values` summed over the processes; the tensor itself for a single one."""
    if processes.world == 1:
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def labelled_weight(target: Tensor, class_weights: Tensor) -> Tensor:
    """() float64: the sum of the class weights of a target's labelled pixels, which a mean loss divides by."""
    counts = torch.bincount(target.flatten().long(), minlength=256)[: len(class_weights)]
    return counts.double() @ class_weights.double()


class SharedStatistics(pl.Callback):
    """The mean of the processes' BatchNorm statistics, taken before they are validated and saved.

    While it trains, each process keeps the statistics of its own share of the images.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Before the networks are measured."""
        self._average(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Before they are saved, where there was no validation."""
        self._average(pl_module)

    def _average(self, module: torch.nn.Module) -> None:
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point() and name.rpartition(".")[2].startswith("running_"):
                buffer.copy_(total(self.processes, buffer) / self.processes.world)


def broadcast(processes: Processes, value: Any) -> Any:
    """The first process's `value`, in every process."""
    if processes.world == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]
