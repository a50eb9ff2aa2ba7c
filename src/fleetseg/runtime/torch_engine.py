"""Networks on PyTorch: checkpoints of ours and the published ESPNet weights."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError, UsageError
from fleetseg.metadata import FORM_KEY, METADATA_KEY, ModelMetadata
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.threads import thread_count

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fleetseg.models import SegmentationNetwork


class TorchEngine:
    """A network in evaluation mode."""

    name = "torch"

    def __init__(self, network: nn.Module, threads: int | None = None, device: str = "cpu") -> None:
        """`threads` sets PyTorch's thread count, which is one for the whole process.

        `device` "cuda" runs in half precision with one CUDA graph a batch shape; `UsageError` without such a device.
        """
        import torch

        if threads is not None:
            torch.set_num_threads(thread_count(threads))
        self._on_gpu: GraphedNetwork | None = None
        if device == "cuda":
            if not torch.cuda.is_available():
                raise UsageError("device 'cuda': PyTorch finds no NVIDIA GPU on this machine; use device 'cpu'")
            self._on_gpu = GraphedNetwork(network)
        elif device != "cpu":
            raise UsageError(f"device '{device}': a PyTorch checkpoint runs on cpu or cuda")
        self._network = network.eval()

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Engine.run`."""
        import torch

        if self._on_gpu is not None:
            return self._on_gpu.run(batch)
        try:
            with torch.inference_mode():
                logits = self._network(torch.from_numpy(batch))
        except RuntimeError as error:
            if "allocat" in str(error):
                raise MemoryError from error
            raise
        return np.asarray(logits.numpy(), np.float32)


class GraphedNetwork:
    """A network on an NVIDIA GPU: half precision, channels last, its kernels recorded once a shape and replayed."""

    def __init__(self, network: nn.Module) -> None:
        import torch

        half = network.eval().half().to("cuda")
        self._network = half.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._recorded: dict[tuple[int, ...], tuple[Any, Any, Any]] = {}

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As `TorchEngine.run`."""
        import torch

        with torch.inference_mode():
            if batch.shape not in self._recorded:
                self._recorded[batch.shape] = self._record(batch)
            graph, source, logits = self._recorded[batch.shape]
            source.copy_(torch.from_numpy(batch))
            graph.replay()
            return np.asarray(logits.float().cpu().numpy(), np.float32)

    def _record(self, batch: npt.NDArray[np.float32]) -> tuple[Any, Any, Any]:
        import torch

        source = torch.from_numpy(batch).to("cuda", torch.float16, memory_format=torch.channels_last)
        # Some runs on another stream come first: libraries choose kernels and allocate then, which cannot be recorded.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._network(source)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._network(source)
        return graph, source, logits


class ProgramEngine:
    """A program that `torch.export` wrote, without the network's code."""

    name = "torch"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """`MissingExtraError` without torch, `CheckpointError` for a file that it cannot read."""
        require_torch(path)
        import torch

        if threads is not None:
            torch.set_num_threads(thread_count(threads))
        found = {METADATA_KEY: "", FORM_KEY: ""}
        self._source = str(path)
        if not zipfile.is_zipfile(path):
            # Said before torch.export tries: it logs every way in which it failed.
            raise CheckpointError(f"{path}: is no complete file of torch.export (cut off, or of another kind)")
        try:
            self._program = torch.export.load(path, extra_files=found).module()
        except Exception as error:  # archives, pickles and schemas all fail in their own ways
            raise CheckpointError(f"{path}: PyTorch cannot read it ({first_line(error)})") from error
        texts = {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}
        #: The file's metadata fields, by key.
        self.fields = {key: value for key, value in texts.items() if value}

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`; a file with its own ends takes and gives what its form says."""
        import torch

        try:
            with torch.inference_mode():
                return np.asarray(self._program(as_tensor(batch)).numpy())
        except Exception as error:
            raise FleetsegError(f"{self._source}: PyTorch failed on {batch.shape} ({first_line(error)})") from error


def as_tensor(batch: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor on the array's memory."""
    import torch

    return torch.from_numpy(batch)


def read_checkpoint(path: Path, threads: int | None = None, device: str = "cpu") -> tuple[TorchEngine, ModelMetadata]:
    """Load a safetensors checkpoint of ours; `MissingExtraError` without torch, else as `load_checkpoint`."""
    require_torch(path)
    from fleetseg.models.checkpoint import load_checkpoint

    return _read(load_checkpoint, path, threads, device)


def read_published(path: Path, threads: int | None = None, device: str = "cpu") -> tuple[TorchEngine, ModelMetadata]:
    """Load a published ESPNet checkpoint; `MissingExtraError` without torch, else as `load_published`."""
    require_torch(path)
    from fleetseg.models.published import load_published

    return _read(load_published, path, threads, device)


def _read(
    reader: Callable[[Path], tuple[SegmentationNetwork, ModelMetadata]],
    path: Path,
    threads: int | None,
    device: str,
) -> tuple[TorchEngine, ModelMetadata]:
    network, metadata = reader(path)
    return TorchEngine(network, threads, device), metadata


def require_torch(path: Path) -> None:
    """`MissingExtraError` with the install line unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"{path}: running a PyTorch checkpoint", "train") from None
