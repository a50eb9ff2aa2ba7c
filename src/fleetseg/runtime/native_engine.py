"""Libraries that `fleetseg compile` made: no engine, no dependency, one image size."""

from __future__ import annotations

import ctypes
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.image import resize_image
from fleetseg.metadata import ModelMetadata
from fleetseg.runtime.decision import Plane, enlarged_planes
from fleetseg.runtime.model import Image, Mask, Model, Size
from fleetseg.runtime.threads import thread_count

#: The key by which a description is told from other JSON files, and the version that this file understands.
DESCRIPTION_KEY, DESCRIPTION_VERSION = "fleetseg_library", 1


class NativeEngine:
    """One instance of a compiled network."""

    name = "native"

    def __init__(self, description: dict[str, Any], folder: Path, threads: int | None = None) -> None:
        """`threads` None takes what was said when compiling, or every processor we may.

        `CheckpointError` if the library cannot be used here.
        """
        self._source = str(folder)
        self.size: Size = (int(description["width"]), int(description["height"]))
        self.map_size: Size = (int(description["map_width"]), int(description["map_height"]))
        network = description["metadata"]["network"]
        self._channels, self._classes = int(network["in_channels"]), int(network["num_classes"])
        self._functions = _functions(folder / str(description["library"]), str(description["prefix"]))
        self._kernels = len(description.get("kernels", ()))
        self._instance = ctypes.c_void_p()
        count = thread_count(description.get("threads") if threads is None else threads)
        self._check(self._functions["create"](count, ctypes.byref(self._instance)))

    def __del__(self) -> None:
        if getattr(self, "_instance", None):
            self._functions["destroy"](self._instance)
            self._instance = ctypes.c_void_p()

    def classes(self, image: Image) -> Mask:
        """(H, W, channels) uint8 of the compiled size → (map height, map width) uint8."""
        result = np.empty(self.map_size[::-1], np.uint8)
        self._run(image, result.ctypes.data, None)
        return result

    def logits(self, image: Image) -> Plane:
        """(H, W, channels) uint8 of the compiled size → (classes, map height, map width) float32."""
        result = np.empty((self._classes, *self.map_size[::-1]), np.float32)
        self._run(image, None, result.ctypes.data)
        return result

    def profile(self, image: Image) -> tuple[Mask, npt.NDArray[np.float64]]:
        """Like `classes`, with the seconds that every kernel took, in the order of the description's "kernels".

        `CheckpointError` for a library that was compiled before it could tell.
        """
        if self._functions["profile"] is None:
            raise CheckpointError(f"{self._source}: cannot time its kernels; compile the network again")
        image = np.ascontiguousarray(image)
        height, width, channels = image.shape
        result = np.empty(self.map_size[::-1], np.uint8)
        seconds = np.zeros(self._kernels)
        arguments = (image.ctypes.data, width, height, channels, result.ctypes.data, None, seconds.ctypes.data)
        self._check(self._functions["profile"](self._instance, *arguments))
        return result, seconds

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:  # noqa: ARG002 - the protocol's
        """Not possible: normalisation is inside the library, which takes uint8 images."""
        raise UsageError(f"{self._source}: a compiled network takes uint8 images, no normalised batches")

    def _run(self, image: Image, classes: int | None, logits: int | None) -> None:
        image = np.ascontiguousarray(image)
        height, width, channels = image.shape
        status = self._functions["run"](self._instance, image.ctypes.data, width, height, channels, classes, logits)
        self._check(status)

    def _check(self, status: int) -> None:
        if status:
            raise CheckpointError(f"{self._source}: {self._functions['message'](status).decode()}")


class CompiledModel(Model):
    """A `Model` whose network sees images of one size, to which others are resized."""

    def __init__(self, engine: NativeEngine, metadata: ModelMetadata, source: str) -> None:
        super().__init__(engine, metadata, source)
        self._native = engine
        self.fixed_size = engine.size

    def predict(self, image: Image, size: Size | None = None) -> Mask:
        """See `Model.predict`; an image of the compiled size gets its class map straight from the library."""
        self._check_image(image)
        self._check_size(size)
        if (image.shape[1], image.shape[0]) == self._native.size == self._native.map_size:
            return self._native.classes(image)
        return super().predict(image, size)

    def probabilities_of(self, images: Sequence[Image]) -> list[npt.NDArray[np.float32]]:
        """See `Model.probabilities_of`; a library takes one image at a time."""
        return [self.probabilities(image) for image in images]

    def logits(self, image: Image) -> Plane:
        """See `Model.logits`; the image must have the compiled size."""
        self._check_image(image)
        self._check_size((image.shape[1], image.shape[0]))
        return self._native.logits(image)

    def _planes(self, image: Image, size: Size | None) -> Any:
        self._check_image(image)
        self._check_size(size)
        own_size, seen = (image.shape[1], image.shape[0]), self._native.size
        logits = self._native.logits(resize_image(image, seen))
        return enlarged_planes(logits, self.metadata.network.output_stride, seen, own_size)

    def _check_size(self, size: Size | None) -> None:
        if size is not None and tuple(size) != self._native.size:
            (width, height), (own_width, own_height) = size, self._native.size
            raise UsageError(
                f"{self.source}: compiled for {own_width}×{own_height}, cannot see {width}×{height}; compile it again"
            )


def is_library(folder: Path) -> bool:
    """Whether a folder holds a compiled network."""
    return bool(descriptions(folder))


def read_library(folder: Path, threads: int | None = None) -> CompiledModel:
    """Load the network that `fleetseg compile` wrote into `folder`; `CheckpointError` if it is broken."""
    found = descriptions(folder)
    if len(found) > 1:
        names = ", ".join(path.stem for path in found)
        raise CheckpointError(f"{folder}: holds several compiled networks ({names}); a folder with one is needed")
    path = found[0] if found else None
    if path is None:
        raise UsageError(f"{folder}: holds no network that fleetseg compiled")
    description = json.loads(path.read_text())
    try:
        metadata = ModelMetadata.from_json(json.dumps(description["metadata"]), str(path))
        engine = NativeEngine(description, folder, threads)
    except KeyError as error:
        raise CheckpointError(f"{path}: the entry {error} is missing; compile the network again") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); compile the network again") from error
    return CompiledModel(engine, metadata, str(folder))


def descriptions(folder: Path) -> list[Path]:
    """The files that describe compiled networks in `folder`, by name; `fleetseg compile` leaves one."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get(DESCRIPTION_KEY) == DESCRIPTION_VERSION:
            found.append(path)
    return found


#: Path → the file that this process loaded from it.
_LOADED: dict[str, tuple[int, ...]] = {}


def _opened(library: Path) -> ctypes.CDLL:
    """The library as it is now: for a path that it knows the system would return what was loaded before."""
    found = library.stat()
    identity = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    if _LOADED.setdefault(str(library), identity) == identity:
        return ctypes.CDLL(str(library))
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        return ctypes.CDLL(shutil.copy(library, folder))


def _functions(library: Path, prefix: str) -> dict[str, Any]:
    try:
        loaded = _opened(library.resolve())
        functions = {name: getattr(loaded, f"{prefix}_{name}") for name in ("create", "run", "destroy", "message")}
    except (OSError, AttributeError) as error:
        raise CheckpointError(f"{library}: cannot be loaded as a compiled network ({error})") from error
    pointer, number = ctypes.c_void_p, ctypes.c_int
    functions["create"].argtypes = [number, ctypes.POINTER(pointer)]
    functions["run"].argtypes = [pointer, pointer, number, number, number, pointer, pointer]
    functions["destroy"].argtypes = [pointer]
    functions["destroy"].restype = None
    functions["message"].argtypes = [number]
    functions["message"].restype = ctypes.c_char_p
    functions["profile"] = getattr(loaded, f"{prefix}_profile", None)
    if functions["profile"] is not None:
        functions["profile"].argtypes = [pointer, pointer, number, number, number, pointer, pointer, pointer]
    return functions
