"""`load`: one call for packaged names, checkpoints of ours, published checkpoints and exported files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.runtime.compiled_candidates import CANDIDATES, compiled_candidates, open_compiled
from fleetseg.runtime.exported_files import ENGINES_OF_SUFFIX, onnx_model, read_exported
from fleetseg.runtime.fastest import fastest_engine
from fleetseg.runtime.model import Model, Size
from fleetseg.runtime.native_engine import is_library, read_library
from fleetseg.runtime.onnx_engine import OnnxEngine
from fleetseg.runtime.torch_engine import read_checkpoint, read_published
from fleetseg.variants import VARIANTS

#: What ``engine=`` may be; "own" takes the one that the file is made for, "auto" the fastest here.
ENGINES = (
    *("own", "auto", "native", "onnxruntime", "torch"),
    *("openvino", "opencv", "ncnn", "litert", "executorch", "coreml"),
)

#: Files of weights, which PyTorch runs and which can be compiled.
_WEIGHTS = (".safetensors", ".pth", ".pt")

_ENGINES_OF_SUFFIX = {**ENGINES_OF_SUFFIX, **dict.fromkeys(_WEIGHTS, ("torch",))}

#: Engines that run a packaged network, which is there as ONNX and as a checkpoint.
_PACKAGED_ENGINES = (*ENGINES_OF_SUFFIX[".onnx"], "torch")


def load(
    name_or_path: str | Path,
    engine: str = "own",
    threads: int | None = None,
    device: str = "cpu",
    size: Size | None = None,
) -> Model:
    """Load a network, ready to be called with images.

    `name_or_path` is a packaged name (``enet-camvid``), a checkpoint (``.safetensors``) that fleetseg wrote, a
    published one of ESPNet or ERFNet (``.pth``), the folder of a training run, of which the best checkpoint is taken,
    or what ``fleetseg export`` wrote: ONNX (``.onnx``), OpenVINO (``.xml``), ncnn (``.param``), torch.export
    (``.pt2``), LiteRT (``.tflite``), ExecuTorch (``.pte``), Core ML (``.mlpackage``, on macOS) or the folder of a
    compiled network. A packaged name wins over a file of that name; write ``./name`` for the file.

    `engine` "own" runs a file on the engine that it is for. "auto" times every installed engine that reads the file
    (ONNX: ONNX Runtime, OpenVINO, OpenCV) on a few images, takes the fastest and remembers it. With `size` = (width,
    height), the only one that the network will see, "auto" also compiles a packaged name or a checkpoint for it, in
    float32 and where the processor has it in bf16, and tries the library; that takes a minute, once. `threads` None
    leaves the number to the engine. `device` is "cpu", or where the engine has it: "cuda" (ONNX Runtime, torch),
    "tensorrt" (ONNX Runtime), "gpu", "npu" (OpenVINO).

    Raises `UsageError` for a path that does not exist, an engine that cannot run the file or a device that is not
    here, `UnknownNameError` (with the nearest names) for a name that is not packaged, `MissingExtraError` if the
    file's runtime is not installed, and `CheckpointError` for a file that is broken or not of these kinds.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    name = os.fspath(name_or_path)
    if name in packaged_models():
        return _load_packaged(name, engine, threads, device, size)
    if is_library(Path(name)):
        if engine not in ("own", "auto", "native"):
            raise UsageError(f"{name}: runs on engine 'native', not on '{engine}'")
        if device != "cpu":
            raise UsageError(f"{name}: a compiled network runs on device 'cpu', not on '{device}'")
        return read_library(Path(name), threads)
    return _load_file(checkpoint_path(name), engine, threads, device, size)


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


def _fastest(
    name: str,
    content: bytes,
    able: tuple[str, ...],
    opened: Callable[..., Model],
    threads: int | None,
    compiled_for: Size | None,
) -> Model:
    """The model on its fastest engine; with `compiled_for` the compiled library for that size is tried too."""

    def open_on(engine: str) -> Model:
        if compiled_for is not None and engine in CANDIDATES:
            return open_compiled(name, content, engine, compiled_for, threads)
        return opened(engine=engine)

    tried = (*able, *compiled_candidates()) if compiled_for is not None else able
    return open_on(fastest_engine(content, tried, open_on, threads, compiled_for))


def _load_packaged(name: str, engine: str, threads: int | None, device: str, size: Size | None = None) -> Model:
    with resources.as_file(_weights() / f"{name}.onnx") as path:
        if engine == "auto":
            has_weights = packaged_checkpoint(name).is_file()
            able = _PACKAGED_ENGINES if has_weights else ENGINES_OF_SUFFIX[".onnx"]
            compiled_for = size if has_weights and device == "cpu" else None
            opened = partial(_load_packaged, name, threads=threads, device=device)
            return _fastest(name, path.read_bytes(), able, opened, threads, compiled_for)
        if engine in ("own", *ENGINES_OF_SUFFIX[".onnx"]):
            chosen = "onnxruntime" if engine == "own" else engine
            session = OnnxEngine(path.read_bytes(), name, threads, device if chosen == "onnxruntime" else "cpu")
            return onnx_model(session, path, name, chosen, threads, device)
    if engine == "native":
        raise UsageError(f"the packaged '{name}' is not compiled; run fleetseg compile first and load its folder")
    if engine != "torch":
        known = ", ".join(_PACKAGED_ENGINES)
        raise UsageError(f"the packaged '{name}' runs on {known}; export it with fleetseg export for '{engine}'")
    with resources.as_file(packaged_checkpoint(name)) as path:
        if not path.is_file():
            raise UsageError(f"the packaged '{name}' has no PyTorch weights; use engine 'onnxruntime'")
        return _load_file(path, engine, threads, device)


def checkpoint_path(name: str) -> Path:
    """The existing file that `name` means, a run's folder resolved to its best checkpoint."""
    path = Path(name)
    if path.is_dir() and path.suffix.lower() not in _ENGINES_OF_SUFFIX:
        best = path / "best.safetensors"
        if not best.is_file():
            raise UsageError(f"{path}: is a folder without best.safetensors, so not a training run's")
        return best
    if path.exists():
        return path
    if os.sep in name or "/" in name or path.suffix.lower() in _ENGINES_OF_SUFFIX:
        raise UsageError(f"{path}: no such model file")
    if _is_network(name):
        raise UsageError(
            f"'{name}' is a network of which no weights are packaged (packaged: {', '.join(packaged_models())}); train "
            f"it by a recipe with 'network: {{name: {name}}}' and give the run's folder, or time it untrained with "
            f"fleetseg benchmark {name}"
        )
    raise UnknownNameError("packaged model", name, packaged_models())


def _is_network(name: str) -> bool:
    """Whether a recipe may name such a network; without torch, of the variants alone is it known."""
    if importlib.util.find_spec("torch") is None:
        return name in VARIANTS
    from fleetseg.models import network_names

    return name in (*network_names(), *VARIANTS)


def _load_file(path: Path, engine: str, threads: int | None, device: str, size: Size | None = None) -> Model:
    suffix = path.suffix.lower()
    able = _ENGINES_OF_SUFFIX.get(suffix)
    if able is None:
        kinds = ", ".join(_ENGINES_OF_SUFFIX)
        raise UsageError(f"{path}: is no file of weights by its name; {kinds} or a run's folder is needed")
    compiled_for = size if suffix in _WEIGHTS and device == "cpu" else None
    if engine == "auto" and (len(able) > 1 or compiled_for is not None):
        opened = partial(_load_file, path, threads=threads, device=device)
        return _fastest(str(path), path.read_bytes(), able, opened, threads, compiled_for)
    if engine in ("own", "auto"):
        engine = able[0]
    if engine not in able:
        raise UsageError(f"{path}: runs on engine {' or '.join(repr(name) for name in able)}, not on '{engine}'")
    if suffix in ENGINES_OF_SUFFIX:
        return read_exported(path, engine, threads, device)
    reader = read_checkpoint if suffix == ".safetensors" else read_published
    return Model(*reader(path, threads, device), str(path))
