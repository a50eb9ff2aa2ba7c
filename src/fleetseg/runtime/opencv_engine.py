"""ONNX files on OpenCV's DNN module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.threads import thread_count


class OpenCvEngine:
    """A network; the thread count is one for the whole process."""

    name = "opencv"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """`CheckpointError` for a file that OpenCV cannot read."""
        self._source = str(path)
        cv2.setNumThreads(thread_count(threads))
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise CheckpointError(f"{path}: OpenCV cannot read it ({first_line(error)})") from error

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`."""
        try:
            self._network.setInput(batch)
            return np.array(self._network.forward())
        except cv2.error as error:
            raise FleetsegError(f"{self._source}: OpenCV failed on {batch.shape} ({first_line(error)})") from error
