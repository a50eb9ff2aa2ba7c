"""OpenVINO's own files, and ONNX files, on OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, MissingExtraError, UsageError
from fleetseg.metadata import FORM_KEY, METADATA_KEY
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.threads import thread_count

#: ``device=`` word → OpenVINO's.
DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


class OpenVinoEngine:
    """A network compiled for one device, for latency."""

    name = "openvino"

    def __init__(self, path: Path, threads: int | None = None, device: str = "cpu") -> None:
        """`path` is an .xml file, its .bin beside it, or an ONNX file.

        `MissingExtraError` without OpenVINO, `CheckpointError` for a file that it cannot read, `UsageError` for a
        device that it does not find here.
        """
        try:
            import openvino
        except ImportError:
            raise MissingExtraError(f"{path}: running on OpenVINO", "openvino") from None
        self._source = str(path)
        core = openvino.Core()
        chosen = DEVICES.get(device)
        if chosen is None or not any(found.split(".")[0] == chosen for found in core.available_devices):
            found = ", ".join(sorted({item.split(".")[0].lower() for item in core.available_devices}))
            raise UsageError(f"device '{device}': OpenVINO finds {found} on this machine")
        if path.suffix.lower() == ".xml" and not _begins_as_xml(path):
            # Said before OpenVINO tries other formats, of which one writes its failure to stderr.
            raise CheckpointError(f"{path}: is no OpenVINO model, whose .xml begins with <?xml or <net")
        try:
            model = core.read_model(path)
        except Exception as error:  # OpenVINO raises RuntimeError and others, all alike
            raise CheckpointError(f"{path}: OpenVINO cannot read it ({_reason(error)})") from error
        #: The file's metadata fields, by key.
        self.fields = _fields(model)
        hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if chosen == "CPU":
            # float32 whatever the processor would like: agreement with the network goes first.
            hints |= {
                "INFERENCE_NUM_THREADS": thread_count(threads),
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": "f32",
            }
        try:
            self._request = core.compile_model(model, chosen, hints).create_infer_request()
        except Exception as error:
            raise CheckpointError(f"{path}: OpenVINO cannot compile it ({_reason(error)})") from error

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `Engine.run`; a file with its own ends takes and gives what its form says."""
        try:
            return np.asarray(self._request.infer([batch], share_inputs=True, share_outputs=False)[0])
        except Exception as error:
            raise FleetsegError(f"{self._source}: OpenVINO failed on {batch.shape} ({first_line(error)})") from error


def _begins_as_xml(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<?xml", b"<net"))


def _reason(error: Exception) -> str:
    """What OpenVINO says, without the places in its source that it puts before."""
    lines = [line for line in str(error).splitlines() if not line.startswith("Exception from ")]
    return first_line(Exception(" ".join(lines)))


def _fields(model: Any) -> dict[str, str]:
    found = {}
    for key in (METADATA_KEY, FORM_KEY):
        if model.has_rt_info([key]):
            found[key] = str(model.get_rt_info([key]).value)
    return found
