"""`fleetseg export`: a network becomes a file for another runtime, run there and compared before it stays."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fleetseg.atomic import check_writable, files_in, folder_beside, move_into
from fleetseg.compilation import check_place, read_network, write_library
from fleetseg.data.scene_dataset import Scenes
from fleetseg.errors import ExportError, FleetsegError, UsageError
from fleetseg.exporters.formats import Format, format_named
from fleetseg.image import check_size, resize_image
from fleetseg.metadata import ExportedForm, ModelMetadata
from fleetseg.runtime import load
from fleetseg.runtime.model import check_memory
from fleetseg.runtime.native_engine import is_library

if TYPE_CHECKING:
    from torch import nn

#: Precision → (least share of pixels with the network's class, largest mean difference of logits in parts of the
#: largest logit). Half precision rounds weights; a maximum that moves by a rounding moves an un-pooled value.
_LIMITS = {"fp32": (0.999, 1e-4), "fp16": (0.98, 1e-2), "bf16": (0.95, 3e-2)}

#: Runs that are timed, after two that warm up.
_TIMED_RUNS = 5

#: The scene's size where the file takes any: no multiple of 8, so that padding is seen too.
_FREE_SCENE = (243, 181)

#: Formats whose runtime is not on every machine: written and checked by their own validator, and said so.
_RUNS_ELSEWHERE = {"coreml": "Core ML runs on macOS alone; coremltools' own validation passed"}


@dataclass(frozen=True)
class ExportRequest:
    """What the file shall be; sizes are (width, height)."""

    format: str
    #: None: any size, where the format can.
    size: tuple[int, int] | None
    precision: str = "fp32"
    head: str = "logits"
    preprocessing: bool = False
    #: Of the images that go in, where they shall be resized inside; with `preprocessing` alone.
    image_size: tuple[int, int] | None = None
    force: bool = False


@dataclass(frozen=True)
class Agreement:
    """The written file in its own runtime beside the network on one built-in scene."""

    engine: str
    #: Largest and mean difference of logits; None for a file that gives classes.
    max_difference: float | None
    mean_difference: float | None
    #: The largest logit's magnitude, for scale.
    largest_logit: float
    #: Share of pixels with the network's class.
    same_classes: float
    latency_ms: float
    #: (width, height) of the scene.
    scene: tuple[int, int]


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    model: str
    form: ExportedForm
    files: dict[str, int]
    #: None where the format's runtime does not exist on this system; `note` says so.
    agreement: Agreement | None
    note: str = ""

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(self.files.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "form": self.form.model_dump(),
            "files": self.files,
            "size_bytes": self.size_bytes,
            "agreement": asdict(self.agreement) if self.agreement else None,
            "note": self.note,
        }


def export(model: str, out: str | Path, request: ExportRequest) -> ExportReport:
    """Write `model` (a packaged name, checkpoint or run's folder) as `out` and compare it with the network.

    int8 needs images, so it has a function of its own: `fleetseg.quantise.export_int8`.

    The file is written to a folder beside `out`, run in its own runtime and moved only if it agrees. `UsageError` for
    what the format cannot have or an `out` that exists (kept without `force`), `MissingExtraError` if the format's
    packages are not installed, `ExportError` for an operation that the format lacks and for a file that does not agree
    with the network, `OutputError` if `out` cannot be written.
    """
    chosen = format_named(request.format)
    out = Path(out)
    chosen.check(request.size, request.precision)
    if request.precision == "int8":
        raise UsageError("--precision int8: --data DIR is needed, a data set whose images calibrate and judge the file")
    check_out(chosen, out, request.force)
    check_ends(request)
    chosen.require()
    network, metadata = read_network(model)
    for size in (request.size, request.image_size):
        if size is not None:
            check_memory(metadata, size)
    if chosen.name == "c":
        check_place(out, metadata)
    form = form_of(request)
    with folder_beside(out) as folder:
        place = folder / out.name
        if chosen.name == "c":
            assert request.size is not None
            write_library(network, request.size, place, precision=request.precision, metadata=metadata)
            form = form.model_copy(update={"preprocessing": True})
        else:
            write_format(network, metadata, form, place)
        agreement = None
        if chosen.name not in _RUNS_ELSEWHERE:
            agreement = compared(network, metadata, form, place)
            _check_agreement(chosen, agreement, request.precision)
        files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(files_in(folder))}
        # Into a folder of compiled C, like `fleetseg compile`: what else stands there stays.
        into_folder = chosen.name == "c" and out.is_dir()
        move_into(place if into_folder else folder, out if into_folder else out.parent)
    return ExportReport(model, form, files, agreement, _RUNS_ELSEWHERE.get(chosen.name, ""))


def compared(network: nn.Module, metadata: ModelMetadata, form: ExportedForm, path: Path) -> Agreement:
    """The file at `path`, loaded as anybody would load it, beside the network on a built-in scene."""
    import torch

    from fleetseg.exporters.source import with_ends

    size = form.input_size or _FREE_SCENE
    image = scene(size, metadata.network.in_channels)
    reference_form = form.model_copy(update={"head": "logits"})
    batch = image[None] if form.preprocessing else metadata.normalisation.apply(image)
    with torch.inference_mode():
        expected = with_ends(network, metadata, reference_form).eval()(torch.from_numpy(batch))[0].numpy()
    loaded = load(path, threads=1) if form.format != "torch" else load(path)
    raw = getattr(loaded, "raw", loaded.logits)
    found = raw(image)
    times = []
    for run in range(2 + _TIMED_RUNS):
        started = time.perf_counter()
        raw(image)
        if run >= 2:
            times.append(1e3 * (time.perf_counter() - started))
    classes = found if form.head == "classes" else found.argmax(0)
    differences = None if form.head == "classes" else np.abs(found.astype(np.float64) - expected)
    return Agreement(
        engine=loaded.engine,
        max_difference=None if differences is None else float(differences.max()),
        mean_difference=None if differences is None else float(differences.mean()),
        largest_logit=float(np.abs(expected).max()),
        same_classes=float((classes == expected.argmax(0)).mean()),
        latency_ms=statistics.median(times),
        scene=size,
    )


def scene(size: tuple[int, int], channels: int = 3) -> npt.NDArray[np.uint8]:
    """A built-in street scene, (height, width, channels); more or fewer than three channels repeat its own."""
    image = resize_image(Scenes("val")[0].image, size)
    return np.ascontiguousarray(image[..., [index % 3 for index in range(channels)]])


def check_ends(request: ExportRequest) -> None:
    """`UsageError` for sizes and ends that do not go together."""
    if request.size is not None:
        check_size(request.size)
    if request.image_size is not None:
        check_size(request.image_size)
        if not request.preprocessing or request.size is None:
            raise UsageError("--image-size resizes inside the file: it needs --preprocess and a --size WIDTHxHEIGHT")
    if request.format == "c" and (request.head == "classes" or request.image_size or request.preprocessing):
        raise UsageError(
            "--format c: the library always takes uint8 images and gives logits and classes; "
            "leave --head, --preprocess and --image-size out"
        )


def form_of(request: ExportRequest) -> ExportedForm:
    """What the file will say that it takes and gives."""
    from fleetseg import __version__

    return ExportedForm.model_validate(
        {
            "format": request.format,
            "size": request.size,
            "image_size": request.image_size,
            "precision": request.precision,
            "head": request.head,
            "preprocessing": request.preprocessing,
            "version": __version__,
        }
    )


def write_format(network: nn.Module, metadata: ModelMetadata, form: ExportedForm, path: Path) -> None:
    """Write `path` in the form's format; `ExportError` for what its converter cannot do."""
    from fleetseg.exporters.source import source_of
    from fleetseg.exporters.writing import write

    try:
        write(source_of(network, metadata, form), path)
    except (FleetsegError, OSError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # each converter has exceptions of its own
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"{metadata.name}: cannot be written as {form.format} ({type(error).__name__}: {reason}); "
            "onnx and openvino have the most operations"
        ) from error


def check_out(chosen: Format, out: Path, force: bool) -> None:
    """`UsageError` for a name of another format and for what exists, `OutputError` where files cannot be written."""
    if chosen.suffix and out.suffix.lower() != chosen.suffix:
        raise UsageError(f"--out {out}: a file of {chosen.title} ends in {chosen.suffix}")
    for path in (out, *(out.with_suffix(suffix) for suffix in chosen.beside)):
        # An empty folder is no result that could be lost.
        if path.exists() and not force and not (path.is_dir() and not any(path.iterdir())):
            raise UsageError(f"--out {path}: exists already; give another name, or --force to replace it")
        if path.is_dir() and any(path.iterdir()) and not _is_export(path):
            raise UsageError(f"--out {path}: is a folder that holds no exported network; --force does not replace it")
    check_writable(out.parent)


def _is_export(folder: Path) -> bool:
    return (folder / "Manifest.json").is_file() if folder.suffix == ".mlpackage" else is_library(folder)


def _check_agreement(chosen: Format, found: Agreement, precision: str) -> None:
    least, largest = _LIMITS[precision]
    mean = found.mean_difference
    if found.same_classes >= least and (mean is None or mean <= largest * max(1.0, found.largest_logit)):
        return
    differs = "" if found.max_difference is None else f", logits up to {found.max_difference:.3g} apart"
    raise ExportError(
        f"the {chosen.title} file gives {100 * found.same_classes:.2f}% of the pixels the network's class on "
        f"{found.engine} (at least {100 * least:g}% is needed{differs}); nothing was kept"
    )
