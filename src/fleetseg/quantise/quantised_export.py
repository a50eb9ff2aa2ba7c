"""From a network and a data set to an int8 file that keeps an accuracy limit, and the report about it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fleetseg.atomic import files_in, folder_beside, move_into
from fleetseg.compilation import read_network
from fleetseg.errors import ExportError, MissingExtraError, UsageError
from fleetseg.evaluation import Evaluation
from fleetseg.exporters.formats import Format, format_named
from fleetseg.exporting import ExportRequest, check_ends, check_out, form_of, write_format
from fleetseg.metadata import ModelMetadata
from fleetseg.quantise.calibration import QuantisationData, Track, batches, open_data, untold
from fleetseg.quantise.measuring import SENSITIVITY_IMAGES, accuracy, change, latencies, outputs
from fleetseg.quantise.quantiser import Quantiser
from fleetseg.quantise.report import PrecisionReport, QuantisationReport
from fleetseg.quantise.search import Attempt, Found, Sensitivity, rank, search
from fleetseg.runtime.threads import thread_count


@dataclass(frozen=True)
class Int8Request:
    """What decides over int8, beside an `ExportRequest`."""

    #: As after ``--data``.
    data: str
    calibration_images: int = 96
    #: mIoU points that the file may lose against float32.
    max_drop: float = 0.5
    calibration_split: str = "train"
    accuracy_split: str = "val"
    #: Epochs of quantisation-aware fine-tuning if the limit cannot be kept otherwise; 0: none.
    fine_tune_epochs: int = 0
    threads: int | None = None


def export_int8(
    model: str, out: str | Path, request: ExportRequest, int8: Int8Request, track: Track = untold
) -> QuantisationReport:
    """Write `model` as `out` with as many layers in int8 as the limit allows, and report beside it fp32 and fp16.

    All layers are quantised with the ranges that maps take on calibration images. If that loses more than `max_drop`
    mIoU points on the accuracy split, the layers whose rounding changes the logits most are turned back to float, as
    few as possible; if no half of the multiply-adds can stay in int8 that way, and `fine_tune_epochs` is given, the
    network is first trained with rounded weights and maps, and its checkpoint written beside `out`.

    Raises what `fleetseg.exporting.export` raises, `UsageError` and `DataError` for data that cannot be used, and
    `ExportError` if the limit cannot be kept; then no file is left.
    """
    chosen, out = format_named(request.format), Path(out)
    chosen.check(request.size, "int8")
    if not 0 <= int8.max_drop <= 100:
        raise UsageError(f"--max-drop {int8.max_drop:g}: mIoU points from 0 to 100 are needed")
    check_out(chosen, out, request.force)
    check_ends(request)
    _require(chosen)
    network, metadata = read_network(model)
    data = open_data(
        int8.data,
        int8.calibration_split,
        int8.accuracy_split,
        int8.calibration_images,
        metadata.network.in_channels,
    )
    with folder_beside(out) as folder:
        work = _Work(folder, chosen, request, int8, data, metadata, track)
        work.write_references(network)
        found, epochs = work.quantise(network), 0
        if found.best is None and int8.fine_tune_epochs > 0:
            network, epochs = work.fine_tune(network), int8.fine_tune_epochs
            found = work.quantise(network)
        if found.best is None:
            raise ExportError(work.failure(found, epochs))
        kept = work.keep(out.name, found.best, network if epochs else None)
        report = work.report(model, found, found.best, kept, epochs)
        move_into(kept, out.parent)
    return report


class _Work:
    """One export: files in a folder of its own until one of them is good."""

    def __init__(
        self,
        folder: Path,
        chosen: Format,
        request: ExportRequest,
        int8: Int8Request,
        data: QuantisationData,
        metadata: ModelMetadata,
        track: Track,
    ) -> None:
        self._folder, self._chosen, self._int8, self._track = folder, chosen, int8, track
        self._data, self._metadata = data, metadata
        self._form = form_of(request).model_copy(update={"precision": "int8"})
        self._batches = batches(data.images, metadata, self._form)
        self._evaluations: dict[str, Evaluation] = {}
        self._quantiser: Quantiser | None = None
        self._ranking: tuple[Sensitivity, ...] = ()

    def _path(self, precision: str) -> Path:
        """In a folder of its own: some formats are several files."""
        place = self._folder / precision
        place.mkdir(exist_ok=True)
        return place / f"network{self._chosen.suffix}"

    def write_references(self, network: Any) -> None:
        """fp32 and fp16, and their accuracy."""
        for precision in ("fp32", "fp16"):
            form = self._form.model_copy(update={"precision": precision})
            path = self._path(precision)
            write_format(network, self._metadata, form, path)
            self._evaluations[precision] = self._accuracy(path, precision)

    def quantise(self, network: Any) -> Found:
        """Everything, then as little as possible turned back."""
        # A bar of one step: it may take minutes, and the quantisers do not tell how far they are.
        for kind in self._track((quantiser_of(self._chosen.name),), "Quantising"):
            quantiser: Quantiser = kind(network, self._metadata, self._form, self._batches)
        self._quantiser = quantiser
        least = self._evaluations["fp32"].scores.miou - self._int8.max_drop / 100
        everything = Attempt(frozenset(), self._miou_with(()))
        if everything.miou >= least:
            return Found(everything, (everything,))
        images = self._batches[:: max(1, len(self._batches) // SENSITIVITY_IMAGES)][:SENSITIVITY_IMAGES]
        expected = outputs(self._float_file(), images, self._int8.threads)

        def error_of(layer: str) -> float:
            path = self._path("alone")
            quantiser.write_alone(path, layer)
            return change(outputs(path, images, self._int8.threads), expected, self._form.head)

        self._ranking = rank(quantiser.layers, error_of, self._track)
        return search(self._ranking, quantiser.float_macs, least, self._miou_with, (everything,))

    def _float_file(self) -> Path:
        """The network that is being quantised, which may have been fine-tuned, without any rounding."""
        assert self._quantiser is not None
        path = self._path("alone")
        self._quantiser.write_alone(path, "")
        return path

    def _miou_with(self, float_layers: Collection[str]) -> float:
        assert self._quantiser is not None
        path = self._path("int8")
        self._quantiser.write(path, float_layers)
        what = f"Measuring int8 with {len(float_layers)} float layers" if float_layers else "Measuring int8"
        self._evaluations["int8"] = self._accuracy(path, what)
        return self._evaluations["int8"].scores.miou

    def _accuracy(self, path: Path, what: str) -> Evaluation:
        return accuracy(path, self._data.accuracy, self._int8.threads, self._track, what)

    def fine_tune(self, network: Any) -> Any:
        """See `fine_tuning`."""
        from fleetseg.data import open_dataset
        from fleetseg.quantise.fine_tuning import fine_tuned

        train = open_dataset(self._int8.data, self._int8.calibration_split)
        return fine_tuned(
            network, self._metadata, train, self._form.size, self._int8.fine_tune_epochs, track=self._track
        )

    def failure(self, found: Found, epochs: int) -> str:
        """Why there is no file."""
        fp32 = self._evaluations["fp32"].scores.miou
        first, best = found.attempts[0], max(found.attempts, key=lambda one: one.miou)
        tuned = f" after {epochs} epochs of fine-tuning" if epochs else ""
        advice = "more --calibration images or a larger --max-drop"
        advice += "" if epochs else ", or fine-tune with --fine-tune 5"
        turned_back = "no choice of float layers that was tried loses less"
        if best.float_layers:
            turned_back = f"{100 * (fp32 - best.miou):.2f} with its {len(best.float_layers)} worst layers in float"
        return (
            f"{self._metadata.name} as {self._chosen.title}: int8 loses {100 * (fp32 - first.miou):.2f} mIoU points"
            f"{tuned}, and {turned_back}, "
            f"--max-drop is {self._int8.max_drop:g}; try {advice}"
        )

    def keep(self, name: str, best: Attempt, tuned: Any | None) -> Path:
        """A folder with what shall stay: the best file, written anew, and a fine-tuned checkpoint."""
        from fleetseg.models.checkpoint import save_checkpoint

        assert self._quantiser is not None
        if self._evaluations["int8"].scores.miou != best.miou:
            self._miou_with(best.float_layers)
        kept = self._folder / "kept"
        kept.mkdir()
        self._quantiser.write(kept / name, best.float_layers)
        if tuned is not None:
            save_checkpoint(kept / f"{Path(name).stem}-tuned.safetensors", tuned, self._metadata)
        return kept

    def report(self, model: str, found: Found, best: Attempt, kept: Path, epochs: int) -> QuantisationReport:
        """Sizes, latencies in turns, shares."""
        assert self._quantiser is not None
        paths = {name: self._path(name) for name in ("fp32", "fp16", "int8")}
        times = latencies(paths, self._batches[0], self._int8.threads)
        share = _share(self._quantiser, paths["int8"])
        return QuantisationReport(
            model=model,
            format=self._chosen.name,
            size=self._form.size,
            data=self._int8.data,
            threads=thread_count(self._int8.threads),
            calibration_images=len(self._batches),
            max_drop=self._int8.max_drop,
            precisions=tuple(
                PrecisionReport(
                    name,
                    sum(file.stat().st_size for file in files_in(path.parent)),
                    times[name],
                    share if name == "int8" else 0.0,
                    self._evaluations[name],
                )
                for name, path in paths.items()
            ),
            float_layers=tuple(sorted(best.float_layers)),
            sensitivity=self._ranking,
            attempts=found.attempts,
            files={str(path.relative_to(kept)): path.stat().st_size for path in sorted(files_in(kept))},
            fine_tuned_epochs=epochs,
        )


def _share(quantiser: Quantiser, path: Path) -> float:
    integer = quantiser.integer_layers(path)
    total = quantiser.float_macs + sum(layer.macs for layer in quantiser.layers)
    return sum(layer.macs for layer in quantiser.layers if layer.name in integer) / max(1, total)


#: Format → module and class of its quantiser; module and extra of the package that it needs beside the exporter's.
_QUANTISERS = {
    "onnx": ("onnx_int8", "OnnxQuantiser", "onnxruntime", "onnx"),
    "openvino": ("openvino_int8", "OpenVinoQuantiser", "nncf", "int8"),
    "litert": ("litert_int8", "LiteRtQuantiser", "ai_edge_quantizer", "litert"),
}


def quantiser_of(name: str) -> Any:
    """The class that quantises files of a format."""
    module, kind, _, _ = _QUANTISERS[name]
    return getattr(import_module(f"fleetseg.quantise.{module}"), kind)


def can_quantise(chosen: Format) -> bool:
    """Whether the package that quantises files of the format is installed."""
    return chosen.name in _QUANTISERS and find_spec(_QUANTISERS[chosen.name][2]) is not None


def _require(chosen: Format) -> None:
    chosen.require()
    if not can_quantise(chosen):
        raise MissingExtraError(f"int8 for {chosen.title}", _QUANTISERS[chosen.name][3])
