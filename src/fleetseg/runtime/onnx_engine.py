"""ONNX files on ONNX Runtime's CPU provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, FleetsegError, UsageError
from fleetseg.metadata import FORM_KEY, METADATA_KEY, ExportedForm, ModelMetadata, read_carried
from fleetseg.runtime.failures import first_line
from fleetseg.runtime.threads import thread_count


class OnnxEngine:
    """An ONNX file that fleetseg wrote, in an inference session."""

    name = "onnxruntime"

    def __init__(self, content: bytes, source: str, threads: int | None = None, device: str = "cpu") -> None:
        """`content` is the file, `source` its name for errors; `threads` None uses every processor we may.

        `device` is one of `PROVIDERS`. Raises `CheckpointError` for a file that is broken, no ONNX or without our
        metadata, and `UsageError` for a device that is not here.
        """
        self._source = source
        self._session = _session(content, source, thread_count(threads), device)
        self.metadata = _metadata(self._session, source)
        #: What the file takes and gives; None for a file of any size from normalised images to logits.
        self.form = _form(self._session, source)
        self._input = _only_input(self._session, source)

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See `Engine.run`; `FleetsegError` if the graph cannot run."""
        try:
            logits = self._session.run(None, {self._input: batch})[0]
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            if _is_out_of_memory(error):
                raise MemoryError from error
            raise FleetsegError(
                f"{self._source}: ONNX Runtime failed on {batch.shape} ({first_line(error)})"
            ) from error
        # Files with their own arg-max give uint8 classes.
        return np.asarray(logits) if logits.dtype == np.uint8 else np.asarray(logits, np.float32)


def read_onnx(path: Path, threads: int | None = None, device: str = "cpu") -> OnnxEngine:
    """Load an ONNX file; `CheckpointError` if it cannot be read, else as `OnnxEngine`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    return OnnxEngine(content, str(path), threads, device)


def keep_to_ourselves() -> None:
    """Before its first import: ONNX Runtime neither reports what it runs nor writes an identity below ~/.cache.

    Since 1.32 its packages do both unless one of these variables (the name changed) says otherwise.
    """
    for name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ.setdefault(name, "1")


#: ``device=`` word → ONNX Runtime's providers, the first of which must be there.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}


def _providers(device: str) -> list[Any]:
    import onnxruntime

    if device not in PROVIDERS:
        raise UsageError(f"device '{device}': ONNX Runtime runs on {', '.join(PROVIDERS)}")
    wanted = PROVIDERS[device]
    if wanted[0] not in onnxruntime.get_available_providers():
        raise UsageError(
            f"device '{device}': this ONNX Runtime has no {wanted[0]}; on a machine with an NVIDIA GPU: "
            "pip install onnxruntime-gpu"
        )
    options = {"TensorrtExecutionProvider": {"trt_fp16_enable": True, "trt_engine_cache_enable": True}}
    return [(name, options[name]) if name in options else name for name in wanted]


def _session(content: bytes, source: str, threads: int, device: str) -> Any:
    keep_to_ourselves()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Always explicit: left to itself, ONNX Runtime pins threads to processors a container may not have.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A hostile graph may name other files as its weights; ours never do, so there is no folder to find any.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4  # failures arrive as exceptions; their copies on stderr help nobody
    providers = _providers(device)
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # no public base class, see above
        if "INVALID_PROTOBUF" in str(error) or "No graph was found" in str(error):
            raise CheckpointError(f"{source}: is no ONNX file, or is cut off") from error
        raise CheckpointError(f"{source}: ONNX Runtime cannot load it ({first_line(error)})") from error


def _metadata(session: Any, source: str) -> ModelMetadata:
    properties = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in properties:
        raise CheckpointError(
            f"{source}: has no fleetseg metadata (classes, palette, normalisation); "
            "use an ONNX file that fleetseg wrote"
        )
    return ModelMetadata.from_json(properties[METADATA_KEY], source)


def _form(session: Any, source: str) -> ExportedForm | None:
    properties = session.get_modelmeta().custom_metadata_map
    return read_carried(properties, source)[1] if FORM_KEY in properties else None


def _only_input(session: Any, source: str) -> str:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(session.get_outputs()) != 1:
        raise CheckpointError(f"{source}: one image input (N, C, H, W) and one output are needed; it has others")
    return str(inputs[0].name)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocat" in str(error).lower() or "bad_alloc" in str(error)
