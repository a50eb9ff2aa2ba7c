"""ExecuTorch programs on ExecuTorch's own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.fields import parsed_fields


class ExecuTorchEngine:
    """A program of fixed size, one image at a time; its Python runtime takes torch's tensors."""

    name = "executorch"

    def __init__(self, path: Path) -> None:
        """`CheckpointError` for a file that ExecuTorch cannot read."""
        try:
            from executorch.runtime import Runtime
        except ImportError:
            raise MissingExtraError(f"{path}: running on ExecuTorch", "executorch") from None
        self._source = str(path)
        try:
            self._program = Runtime.get().load_program(path)
            fields = self._program.load_method("fleetseg").execute([])[0]
            self._forward = self._program.load_method("forward")
        except Exception as error:  # its exceptions share no base class
            raise CheckpointError(f"{path}: ExecuTorch cannot read it ({first_line(error)})") from error
        self.fields = parsed_fields(str(fields), str(path))

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`; a file with its own ends takes and gives what its form says."""
        from fleetseg.runtime.torch_engine import as_tensor

        try:
            return np.array(self._forward.execute([as_tensor(batch)])[0].numpy())
        except Exception as error:
            raise FleetsegError(f"{self._source}: ExecuTorch failed on {batch.shape} ({first_line(error)})") from error
