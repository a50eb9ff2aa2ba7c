"""`fleetseg.compile`: a network, by name, file or as a module, becomes a library that runs without any engine."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fleetseg.atomic import check_writable, folder_beside, move_into, write_bytes
from fleetseg.errors import MissingExtraError, NoCompilerError, UnknownNameError, UsageError
from fleetseg.image import check_size
from fleetseg.metadata import ModelMetadata, NetworkSpec, metadata_for
from fleetseg.runtime.loading import checkpoint_path, packaged_checkpoint, packaged_models
from fleetseg.runtime.model import Model, check_memory
from fleetseg.runtime.native_engine import descriptions, is_library, read_library
from fleetseg.runtime.threads import thread_count
from fleetseg.runtime.torch_engine import TorchEngine

if TYPE_CHECKING:
    from torch import nn

#: What ``precision=`` may be.
PRECISIONS = ("fp32", "bf16")


def compile(
    network: str | Path | nn.Module,
    size: tuple[int, int],
    out: str | Path | None = None,
    *,
    precision: str = "fp32",
    target: str = "host",
    threads: int | None = None,
    metadata: ModelMetadata | None = None,
    dump: str | Path | None = None,
) -> Model:
    """Compile a network for images of `size` (width, height) and load the library: the callable of `fleetseg.load`.

    `network` is a packaged name, a checkpoint, the folder of a training run, or a ``torch.nn.Module`` from a
    normalised (1, channels, height, width) batch to logits, of which `metadata` gives classes and normalisation
    (default: numbered classes, 3 channels, ImageNet's normalisation). `out` is the folder that gets NAME.c, NAME.h,
    NAME.so and NAME.json; without it they live as long as the model. `dump` is a folder for the graph after every pass.
    `precision` "bf16" keeps weights and feature maps in bf16 and adds up in float32: half the memory, and twice the
    speed on processors with AVX512-BF16. `threads` is how many the model runs on, here and wherever the folder is
    loaded without saying otherwise (default: one a processor).

    Raises `UsageError` for arguments that cannot be meant, `MissingExtraError` without torch and `CompileError` for an
    operation that the compiler does not know, or if the C compiler fails. Without any C compiler it warns and gives the
    network on PyTorch, unless `out` asks for files: then it is a `NoCompilerError`.
    """

    def written(folder: Path) -> Model:
        write_library(
            network,
            size,
            folder,
            precision=precision,
            target=target,
            threads=threads,
            metadata=metadata,
            dump=Path(dump) if dump else None,
        )
        return read_library(folder)

    if out is not None:
        return written(Path(out))
    try:
        with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
            # The library stays mapped after its file is gone.
            return written(Path(folder))
    except NoCompilerError as error:
        warnings.warn(f"{error}; it runs on PyTorch for now", RuntimeWarning, stacklevel=2)
        module, metadata = _module(network, metadata, size)
        return Model(TorchEngine(module, threads), metadata, metadata.name)


def write_library(
    network: str | Path | nn.Module,
    size: tuple[int, int],
    out: Path,
    *,
    precision: str = "fp32",
    target: str = "host",
    threads: int | None = None,
    metadata: ModelMetadata | None = None,
    dump: Path | None = None,
) -> Path:
    """Write NAME.c, NAME.h, NAME.so and NAME.json into `out`; returns the last. Arguments and errors as `compile`."""
    check_size(size)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    thread_count(threads)
    from fleetseg.compiler.build import build_library, compiler_version, find_compiler
    from fleetseg.compiler.pipeline import generate
    from fleetseg.compiler.processor import extensions
    from fleetseg.compiler.target import target_named

    chosen = target_named(target, extensions(), precision)
    compiler = find_compiler()
    module, metadata = _module(network, metadata, size)
    check_memory(metadata, size)
    check_place(out, metadata)
    for folder in (out, dump):
        if folder is not None:
            check_writable(folder)
    from fleetseg.compiler.capture import capture

    graph = capture(module, size, metadata.network.in_channels)
    generated = generate(graph, metadata, size, chosen, dump, precision)
    name = generated.prefix
    description = {**generated.description, "library": f"{name}.so", "threads": threads}
    description["compiler"] = compiler_version(compiler)
    # All four or none: an older library in `out` stays whole if the C compiler fails.
    with folder_beside(out / name) as built:
        write_bytes(built / f"{name}.h", generated.header.encode())
        write_bytes(built / f"{name}.c", generated.source.encode())
        build_library(built / f"{name}.c", built / f"{name}.so", compiler)
        write_bytes(built / f"{name}.json", (json.dumps(description, indent=2) + "\n").encode())
        move_into(built, out)
    return out / f"{name}.json"


def check_place(out: Path, metadata: ModelMetadata) -> None:
    """`UsageError` for a folder that means another network: commands could take that one instead, or this, unasked."""
    from fleetseg.compiler.pipeline import c_name

    others = [path.stem for path in descriptions(out) if path.stem != c_name(metadata.name)]
    if others:
        raise UsageError(f"{out}: holds the compiled network {others[0]} already; choose another folder")
    if (out / "best.safetensors").exists():
        raise UsageError(f"{out}: is the folder of a training run; choose another one for the compiled network")


def _module(
    network: str | Path | nn.Module, metadata: ModelMetadata | None, size: tuple[int, int]
) -> tuple[nn.Module, ModelMetadata]:
    try:
        from torch import nn
    except ImportError:
        raise MissingExtraError("compiling a network", "train") from None
    if isinstance(network, nn.Module):
        return network, metadata or _numbered_classes(network, size)
    if metadata is not None:
        raise UsageError("metadata goes with a module alone; a file of weights brings its own")
    return read_network(os.fspath(network))


def read_network(name: str) -> tuple[nn.Module, ModelMetadata]:
    """The module, in evaluation mode, and metadata of a packaged name, a checkpoint, or a training run's folder.

    Raises `UsageError` and `CheckpointError` as `fleetseg.load`.
    """
    from fleetseg.models.checkpoint import load_checkpoint
    from fleetseg.models.published import load_published

    if name in packaged_models():
        with resources.as_file(packaged_checkpoint(name)) as path:
            if not path.is_file():
                raise UsageError(f"the packaged '{name}' has no PyTorch weights, which compiling needs")
            return load_checkpoint(path)
    path = checkpoint_path(name)
    if path.suffix.lower() == ".safetensors":
        return load_checkpoint(path)
    if path.suffix.lower() in (".pth", ".pt"):
        return load_published(path)
    raise UsageError(f"{path}: a checkpoint (.safetensors or .pth) is needed to compile, export, compress or adjust")


def _numbered_classes(module: nn.Module, size: tuple[int, int]) -> ModelMetadata:
    """Metadata of a module that says nothing about itself, from the shape of its logits."""
    import torch

    was_training = module.training
    try:
        with torch.inference_mode():
            logits = module.eval()(torch.zeros(1, 3, size[1], size[0]))
    finally:
        module.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 4:
        raise UsageError(f"{type(module).__name__} gives no logits of shape (1, classes, height, width)")
    strides = [s for s in (1, 8) if tuple(logits.shape[2:]) == (-(-size[1] // s), -(-size[0] // s))]
    if not strides:
        height, width = logits.shape[2:]
        raise UsageError(
            f"{type(module).__name__} gives logits of {width}×{height} for images of {size[0]}×{size[1]}; "
            "the image's size or an eighth of it is needed"
        )
    classes = int(logits.shape[1])
    name = type(module).__name__.lower()
    spec = NetworkSpec(name=name, num_classes=classes, output_stride=8 if strides[0] == 8 else 1)
    return metadata_for(spec, name, [f"class {index}" for index in range(classes)])


def is_compilable(name: str) -> bool:
    """Whether a name or path means weights that can be compiled: not an ONNX file or a compiled network."""
    if name in packaged_models():
        return packaged_checkpoint(name).is_file()
    return not is_library(Path(name)) and checkpoint_path(name).suffix.lower() in (".safetensors", ".pth", ".pt")


def fastest_precision() -> str:
    """The one of `PRECISIONS` that this machine's processor runs fastest."""
    from fleetseg.compiler.processor import extensions
    from fleetseg.compiler.target import target_named

    return "bf16" if target_named("host", extensions(), "bf16").dots else "fp32"


def library_cache() -> Path:
    """The folder in which built libraries are kept for this user."""
    from fleetseg.compiler.build import cache_folder

    return cache_folder()
