"""Networks on PyTorch: checkpoints of ours and the published ESPNet weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fleetseg.errors import MissingExtraError, UsageError
from fleetseg.metadata import ModelMetadata

if TYPE_CHECKING:
    from torch import nn

    from fleetseg.models import SegmentationNetwork


class TorchEngine:
    """A network in evaluation mode."""

    name = "torch"

    def __init__(self, network: nn.Module, threads: int | None = None) -> None:
        """`threads` sets PyTorch's thread count, which is one for the whole process."""
        import torch

        if threads is not None:
            if threads < 1:
                raise UsageError(f"threads is {threads}; at least 1 is needed")
            torch.set_num_threads(threads)
        self._network = network.eval()

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Engine.run`."""
        import torch

        try:
            with torch.inference_mode():
                logits = self._network(torch.from_numpy(batch))
        except RuntimeError as error:
            if "allocat" in str(error):
                raise MemoryError from error
            raise
        return np.asarray(logits.numpy(), np.float32)


def read_checkpoint(path: Path, threads: int | None = None) -> tuple[TorchEngine, ModelMetadata]:
    """Load a safetensors checkpoint of ours; `MissingExtraError` without torch, else as `load_checkpoint`."""
    require_torch(path)
    from fleetseg.models.checkpoint import load_checkpoint

    return _read(load_checkpoint, path, threads)


def read_published(path: Path, threads: int | None = None) -> tuple[TorchEngine, ModelMetadata]:
    """Load a published ESPNet checkpoint; `MissingExtraError` without torch, else as `load_published`."""
    require_torch(path)
    from fleetseg.models.published import load_published

    return _read(load_published, path, threads)


def _read(
    reader: Callable[[Path], tuple[SegmentationNetwork, ModelMetadata]], path: Path, threads: int | None
) -> tuple[TorchEngine, ModelMetadata]:
    network, metadata = reader(path)
    return TorchEngine(network, threads), metadata


def require_torch(path: Path) -> None:
    """`MissingExtraError` with the install line unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"{path}: running a PyTorch checkpoint", "train") from None
