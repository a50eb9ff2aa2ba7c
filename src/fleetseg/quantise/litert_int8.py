"""LiteRT files quantised by ai-edge-quantizer, which comes with litert-torch."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.exporters import litert as litert_exporter
from fleetseg.exporters.litert_fields import finished
from fleetseg.exporters.source import source_of
from fleetseg.metadata import ExportedForm, ModelMetadata, carried
from fleetseg.quantise.quantiser import Layer

#: Kinds of layers; their weights are (out, rows, columns, in), or (1, rows, columns, out).
_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class LiteRtQuantiser:
    """See `Quantiser`. A layer's name is that of its output."""

    def __init__(
        self, network: Any, metadata: ModelMetadata, form: ExportedForm, batches: Sequence[npt.NDArray[Any]]
    ) -> None:
        """Convert, then calibrate once. `form` is the int8 file's."""
        self._fields = json.dumps(carried(metadata, form))
        plain = form.model_copy(update={"precision": "fp32"})
        self._float = litert_exporter.converted(source_of(network, metadata, plain))
        self.layers: Sequence[Layer] = tuple(layer for layer, _ in _layers(self._float))
        self.float_macs = 0
        self._ranges = _ranges(self._float, batches)

    def _quantizer(self) -> Any:
        from ai_edge_quantizer import quantizer

        return quantizer.Quantizer(bytearray(self._float))

    def write(self, path: Path, float_layers: Collection[str]) -> None:
        """See `Quantiser.write`."""
        quantizer = self._quantizer()
        quantizer.load_quantization_recipe(_all_layers())
        for name in float_layers:
            for kind in _KINDS:
                quantizer.update_quantization_recipe(_exactly(name), kind, algorithm_key="no_quantize")
        self._write(quantizer, path)

    def write_alone(self, path: Path, layer: str) -> None:
        """See `Quantiser.write_alone`."""
        if layer not in {one.name for one in self.layers}:
            path.write_bytes(finished(self._float, self._fields, "fp32"))
            return
        quantizer = self._quantizer()
        for kind in _KINDS:
            quantizer.add_static_config(_exactly(layer), kind, activation_num_bits=8, weight_num_bits=8)
        self._write(quantizer, path)

    def _write(self, quantizer: Any, path: Path) -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            made = quantizer.quantize(self._ranges, enable_progress_report=False).quantized_model
        path.write_bytes(finished(bytes(made), self._fields, "int8"))

    def integer_layers(self, path: Path) -> frozenset[str]:
        """Read from the file, which LiteRT runs as it stands."""
        found = [integer for _, integer in _layers(path.read_bytes())]
        return frozenset(layer.name for layer, integer in zip(self.layers, found, strict=True) if integer)


def _all_layers() -> Any:
    """The recipe for all layers, and for nothing between them.

    A PReLU is four operations on integers there, each of which rounds, slower together than one in float32; and of
    rounded maps un-pooling takes the wrong maxima.
    """
    from ai_edge_quantizer import recipe_manager

    rules = recipe_manager.RecipeManager()
    for kind in _KINDS:
        rules.add_static_config(".*", kind, activation_num_bits=8, weight_num_bits=8)
    return rules.get_quantization_recipe()


def _ranges(content: bytes, batches: Sequence[npt.NDArray[Any]]) -> dict[str, Any]:
    """The mean over images of every map's least and largest value, as ai-edge-quantizer takes them.

    Its own average begins with the first image and counts each further one for a twentieth.
    """
    from ai_edge_quantizer import calibrator, recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(_all_layers())
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        watcher = calibrator.Calibrator(content, num_threads=1, qsv_update_func=_summed)
        signature, name = _signature(content)
        watcher.calibrate({signature: [{name: batch} for batch in batches]}, rules)
    sums = watcher.get_model_qsvs()
    return {tensor: {end: value / len(batches) for end, value in ends.items()} for tensor, ends in sums.items()}


def _summed(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {end: one[end] + other[end] for end in one}


def _exactly(name: str) -> str:
    return f"^{re.escape(name)};?$"


def _layers(content: bytes) -> Iterator[tuple[Layer, bool]]:
    """Each layer of a flat-buffer, and whether it reads integers with integer weights."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    kinds = {getattr(schema.BuiltinOperator, kind): kind for kind in _KINDS}
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = kinds.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if kind is None:
                continue
            source, weights = (graph.tensors[operator.inputs[place]] for place in (0, 1))
            output = graph.tensors[operator.outputs[0]]
            summed = int(np.prod(weights.shape[1:3] if kind == "DEPTHWISE_CONV_2D" else weights.shape[1:]))
            integer = {source.type, weights.type} == {schema.TensorType.INT8}
            name = output.name.decode() if isinstance(output.name, bytes) else str(output.name)
            yield Layer(name, int(np.prod(output.shape)) * summed), integer


def _signature(content: bytes) -> tuple[str, str]:
    """Names of the signature and of its only input."""
    from ai_edge_litert.interpreter import Interpreter

    (name, sides), *_ = Interpreter(model_content=content).get_signature_list().items()
    return str(name), str(sides["inputs"][0])
