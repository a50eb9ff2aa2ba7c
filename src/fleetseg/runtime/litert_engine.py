"""LiteRT files on LiteRT's interpreter with XNNPACK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.fields import parsed_fields
from fleetseg.runtime.threads import thread_count


class LiteRtEngine:
    """A network of fixed size, one image at a time."""

    name = "litert"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """`CheckpointError` for a file that LiteRT cannot read."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtraError(f"{path}: running on LiteRT", "litert") from None
        self._source = str(path)
        try:
            content = path.read_bytes()
            self.fields = parsed_fields(_entry(content), str(path))
            self._interpreter = Interpreter(model_content=content, num_threads=thread_count(threads))
            self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{path}: LiteRT cannot read it ({first_line(error)})") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`; a file with its own ends takes and gives what its form says."""
        try:
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            return np.array(self._interpreter.get_tensor(self._output))
        except (ValueError, RuntimeError) as error:
            raise FleetsegError(f"{self._source}: LiteRT failed on {batch.shape} ({first_line(error)})") from error


def _entry(content: bytes) -> str:
    """The text of the metadata entry ``fleetseg``, or ""."""
    from ai_edge_litert import schema_py_generated as schema

    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError("it does not begin as a LiteRT file does")
    try:
        model = schema.Model.GetRootAs(content, 0)
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() == b"fleetseg":
                return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    except Exception as error:  # a cut flat-buffer is read wherever its offsets point
        raise ValueError("its flat-buffer is broken") from error
    return ""
