"""ncnn's files on ncnn's processor code, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError
from fleetseg.runtime.fields import parsed_fields
from fleetseg.runtime.threads import thread_count


class NcnnEngine:
    """A network of fixed size, one image at a time."""

    name = "ncnn"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """`path` is the .param file, its .bin beside it. `CheckpointError` for files that ncnn cannot read."""
        try:
            import ncnn
        except ImportError:
            raise MissingExtraError(f"{path}: running on ncnn", "ncnn") from None
        self._source, self._ncnn = str(path), ncnn
        self.fields = parsed_fields(_last_line(path), str(path))
        self._network = opened(path, thread_count(threads))

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(1, C, H, W) float32, or (1, H, W, C) uint8 as the file's form says → the file's output, a batch of one."""
        image = batch[0]
        if image.dtype == np.uint8:
            # Levels as they are: the network normalises them itself.
            image = image.transpose(2, 0, 1).astype(np.float32)
        extractor = self._network.create_extractor()
        source = np.ascontiguousarray(image, np.float32)
        status = extractor.input("in0", self._ncnn.Mat(source).clone())
        if status == 0:
            status, result = extractor.extract("out0")
        if status != 0:
            raise FleetsegError(f"{self._source}: ncnn failed on {batch.shape} (status {status})")
        return np.array(result)[None]


def opened(path: Path, threads: int) -> Any:
    """A network for the processor, everything computed in float32; `CheckpointError` if ncnn cannot read it."""
    import ncnn

    network = ncnn.Net()
    options = network.opt
    options.num_threads = threads
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
    weights = path.with_suffix(".bin")
    if network.load_param(str(path)) != 0:
        raise CheckpointError(f"{path}: ncnn cannot read it; is it of a newer ncnn, or cut short?")
    if not weights.is_file() or network.load_model(str(weights)) != 0:
        raise CheckpointError(f"{weights}: ncnn cannot read the weights that belong to {path.name}")
    return network


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as ncnn's text format ({error})") from error
    return lines[-1] if lines else ""
