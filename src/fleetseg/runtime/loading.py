"""`load`: one call for packaged names, checkpoints of ours, published checkpoints and ONNX files."""

from __future__ import annotations

import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.runtime.model import Model
from fleetseg.runtime.native_engine import is_library, read_library
from fleetseg.runtime.onnx_engine import OnnxEngine, read_onnx
from fleetseg.runtime.torch_engine import read_checkpoint, read_published

#: What ``engine=`` may be; "auto" takes the one that the file is made for.
ENGINES = ("auto", "native", "onnxruntime", "torch")

_ENGINE_OF_SUFFIX = {".onnx": "onnxruntime", ".safetensors": "torch", ".pth": "torch", ".pt": "torch"}


def load(name_or_path: str | Path, engine: str = "auto", threads: int | None = None) -> Model:
    """Load a network, ready to be called with images.

    `name_or_path` is a packaged name (``enet-camvid``), an ONNX file or a checkpoint (``.safetensors``) that
    fleetseg wrote, a published ESPNet checkpoint (``.pth``), or the folder of a training run, of which the
    best checkpoint is taken. A packaged name wins over a file of that name; write ``./name`` for the file.
    The folder that ``fleetseg compile`` wrote is loaded as well; it runs on engine "native".
    `threads` None leaves the number to the engine.

    Raises `UsageError` for a path that does not exist or an engine that cannot run the file,
    `UnknownNameError` (with the nearest names) for a name that is not packaged, `MissingExtraError` if the
    file needs torch and torch is not installed, and `CheckpointError` for a file that is broken or not of
    these kinds.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    name = os.fspath(name_or_path)
    if name in packaged_models():
        return _load_packaged(name, engine, threads)
    if is_library(Path(name)):
        if engine not in ("auto", "native"):
            raise UsageError(f"{name}: runs on engine 'native', not on '{engine}'")
        return read_library(Path(name), threads)
    return _load_file(checkpoint_path(name), engine, threads)


def packaged_models() -> tuple[str, ...]:
    """Names of the networks inside the package, sorted."""
    folder = _weights()
    if not folder.is_dir():
        return ()
    return tuple(sorted(item.name.removesuffix(".onnx") for item in folder.iterdir() if item.name.endswith(".onnx")))


def _weights() -> Traversable:
    return resources.files("fleetseg") / "weights"


def packaged_checkpoint(name: str) -> Traversable:
    """The PyTorch weights of a packaged network, which may be missing."""
    return _weights() / f"{name}.safetensors"


def _load_packaged(name: str, engine: str, threads: int | None) -> Model:
    if engine == "native":
        raise UsageError(f"the packaged '{name}' is not compiled; run fleetseg compile first and load its folder")
    if engine == "torch":
        with resources.as_file(packaged_checkpoint(name)) as path:
            if not path.is_file():
                raise UsageError(f"the packaged '{name}' has no PyTorch weights; use engine 'onnxruntime'")
            return _load_file(path, engine, threads)
    session = OnnxEngine((_weights() / f"{name}.onnx").read_bytes(), name, threads)
    return Model(session, session.metadata, name)


def checkpoint_path(name: str) -> Path:
    """The existing file that `name` means, a run's folder resolved to its best checkpoint."""
    path = Path(name)
    if path.is_dir():
        best = path / "best.safetensors"
        if not best.is_file():
            raise UsageError(f"{path}: is a folder without best.safetensors, so not a training run's")
        return best
    if path.exists():
        return path
    if os.sep in name or "/" in name or path.suffix.lower() in _ENGINE_OF_SUFFIX:
        raise UsageError(f"{path}: no such model file")
    raise UnknownNameError("packaged model", name, packaged_models())


def _load_file(path: Path, engine: str, threads: int | None) -> Model:
    suffix = path.suffix.lower()
    needed = _ENGINE_OF_SUFFIX.get(suffix)
    if needed is None:
        kinds = ", ".join(_ENGINE_OF_SUFFIX)
        raise UsageError(f"{path}: is no file of weights by its name; {kinds} or a run's folder is needed")
    if engine not in ("auto", needed):
        raise UsageError(f"{path}: runs on engine '{needed}', not on '{engine}'")
    if suffix == ".onnx":
        session = read_onnx(path, threads)
        return Model(session, session.metadata, str(path))
    reader = read_checkpoint if suffix == ".safetensors" else read_published
    return Model(*reader(path, threads), str(path))
