"""What ends training before its end, as the errors that fleetseg raises."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytorch_lightning as pl

from fleetseg.errors import TrainingError
from fleetseg.training.collectives import noticing_lost_processes
from fleetseg.training.memory_fit import is_out_of_memory
from fleetseg.training.recipe import StageSection


@contextmanager
def interruptions() -> Iterator[None]:
    """Ctrl-C and SIGTERM as `KeyboardInterrupt`, with the process's own handlers afterwards.

    Lightning leaves the process on Ctrl-C (older versions: returns) and ignores further ones for good.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)


class TerminationOfOneOfSeveral(pl.Callback):
    """SIGTERM as Ctrl-C, in a process of several.

    Lightning's handler begins a broadcast wherever the process happens to be; while the others are in another
    collective call, all wait for ever. Its own handlers come back with its teardown.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """After Lightning has set its handler."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def sentences_for_torch(stage: StageSection, fits: Callable[[], int | None]) -> Iterator[None]:
    """`TrainingError` for what a user meets as a `RuntimeError` of torch: no memory, a worker killed.

    `fits` tells the batch size for which the memory does suffice.
    """
    try:
        with noticing_lost_processes():
            yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if "DataLoader worker" in text:
            raise TrainingError(
                f"stage {stage.name}: a process that prepares images was ended from outside, perhaps for "
                f"lack of memory; --resume continues from the last whole epoch"
            ) from error
        if is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # what the failed step held
            raise _out_of_memory(stage, fits()) from error
        raise


def _out_of_memory(stage: StageSection, fitting: int | None) -> TrainingError:
    remedy = f"lower stages.{stage.name}.batch_size or its crop"
    if fitting is not None:
        remedy = f"{fitting} fit: --set stages.{stage.name}.batch_size={fitting}"
    return TrainingError(
        f"stage {stage.name}: the memory does not suffice for batches of {stage.batch_size} images; {remedy}"
    )
