"""Core ML packages: they run where Apple's runtime is."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError, UsageError
from fleetseg.runtime.failures import first_line


class CoreMlEngine:
    """A network of fixed size, one image at a time, on macOS."""

    name = "coreml"

    def __init__(self, path: Path) -> None:
        """`UsageError` on another system, `CheckpointError` for a package that Core ML cannot read."""
        if platform.system() != "Darwin":
            raise UsageError(f"{path}: Core ML runs on macOS alone; export to onnx or openvino for this machine")
        try:
            import coremltools
        except ImportError:
            raise MissingExtraError(f"{path}: running on Core ML", "coreml") from None
        self._source = str(path)
        try:
            self._model = coremltools.models.MLModel(str(path))
        except Exception as error:  # its exceptions share no base class
            raise CheckpointError(f"{path}: Core ML cannot read it ({first_line(error)})") from error
        self.fields = dict(self._model.user_defined_metadata)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`; a file with its own ends takes and gives what its form says."""
        try:
            (found,) = self._model.predict({"image": batch.astype(np.float32)}).values()
        except Exception as error:
            raise FleetsegError(f"{self._source}: Core ML failed on {batch.shape} ({first_line(error)})") from error
        return np.asarray(found)
