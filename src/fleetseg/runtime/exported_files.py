"""Opening the files that `fleetseg export` wrote, each on the runtime that it is for or on another that reads it."""

from __future__ import annotations

from pathlib import Path

from fleetseg.errors import UsageError
from fleetseg.metadata import read_carried
from fleetseg.runtime.exported_model import ExportedModel, FileEngine
from fleetseg.runtime.model import Model
from fleetseg.runtime.onnx_engine import OnnxEngine, read_onnx

#: Suffix → engines that read such a file, its own first.
ENGINES_OF_SUFFIX = {
    ".onnx": ("onnxruntime", "openvino", "opencv"),
    ".xml": ("openvino",),
    ".param": ("ncnn",),
    ".pt2": ("torch",),
    ".tflite": ("litert",),
    ".pte": ("executorch",),
    ".mlpackage": ("coreml",),
}


def read_exported(path: Path, engine: str, threads: int | None, device: str) -> Model:
    """Load `path` on `engine`, one of its suffix's. Raises what the engine raises."""
    if path.suffix.lower() == ".onnx":
        # ONNX Runtime, which every installation has, reads the metadata for the others too.
        session = read_onnx(path, threads, device if engine == "onnxruntime" else "cpu")
        return onnx_model(session, path, str(path), engine, threads, device)
    opened = _opened(path, engine, threads, device)
    metadata, form = read_carried(opened.fields, str(path))  # type: ignore[attr-defined]
    return ExportedModel(opened, metadata, form, str(path))


def onnx_model(session: OnnxEngine, path: Path, source: str, engine: str, threads: int | None, device: str) -> Model:
    """The model of an ONNX file that ONNX Runtime has read, on `engine`."""
    runner: FileEngine = session if engine == "onnxruntime" else _opened(path, engine, threads, device)
    if session.form is None:
        return Model(runner, session.metadata, source)
    return ExportedModel(runner, session.metadata, session.form, source)


def _opened(path: Path, engine: str, threads: int | None, device: str) -> FileEngine:
    if engine == "openvino":
        from fleetseg.runtime.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(path, threads, device)
    if device != "cpu":
        raise UsageError(f"{path}: engine '{engine}' runs on device 'cpu', not on '{device}'")
    if engine == "opencv":
        from fleetseg.runtime.opencv_engine import OpenCvEngine

        return OpenCvEngine(path, threads)
    if engine == "ncnn":
        from fleetseg.runtime.ncnn_engine import NcnnEngine

        return NcnnEngine(path, threads)
    if engine == "torch":
        from fleetseg.runtime.torch_engine import ProgramEngine

        return ProgramEngine(path, threads)
    if engine == "litert":
        from fleetseg.runtime.litert_engine import LiteRtEngine

        return LiteRtEngine(path, threads)
    if engine == "executorch":
        from fleetseg.runtime.executorch_engine import ExecuTorchEngine

        return ExecuTorchEngine(path)
    from fleetseg.runtime.coreml_engine import CoreMlEngine

    return CoreMlEngine(path)
