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
from fleetseg.exporters.litert_fields import with_fields
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
        from ai_edge_quantizer import recipe

        self._fields = json.dumps(carried(metadata, form))
        plain = form.model_copy(update={"precision": "fp32"})
        self._float = litert_exporter.converted(source_of(network, metadata, plain))
        self.layers: Sequence[Layer] = tuple(layer for layer, _ in _layers(self._float))
        self.float_macs = 0
        quantizer = self._quantizer()
        quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
        signature, name = _signature(self._float)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            self._ranges = quantizer.calibrate({signature: [{name: batch} for batch in batches]}, num_threads=1)

    def _quantizer(self) -> Any:
        from ai_edge_quantizer import quantizer

        return quantizer.Quantizer(bytearray(self._float))

    def write(self, path: Path, float_layers: Collection[str]) -> None:
        """See `Quantiser.write`."""
        from ai_edge_quantizer import recipe

        quantizer = self._quantizer()
        quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
        for name in float_layers:
            for kind in _KINDS:
                quantizer.update_quantization_recipe(_exactly(name), kind, algorithm_key="no_quantize")
        self._write(quantizer, path)

    def write_alone(self, path: Path, layer: str) -> None:
        """See `Quantiser.write_alone`."""
        if layer not in {one.name for one in self.layers}:
            path.write_bytes(with_fields(self._float, self._fields, half=False))
            return
        quantizer = self._quantizer()
        for kind in _KINDS:
            quantizer.add_static_config(_exactly(layer), kind, activation_num_bits=8, weight_num_bits=8)
        self._write(quantizer, path)

    def _write(self, quantizer: Any, path: Path) -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            made = quantizer.quantize(self._ranges, enable_progress_report=False).quantized_model
        path.write_bytes(with_fields(bytes(made), self._fields, half=False))

    def integer_layers(self, path: Path) -> frozenset[str]:
        """Read from the file, which LiteRT runs as it stands."""
        found = [integer for _, integer in _layers(path.read_bytes())]
        return frozenset(layer.name for layer, integer in zip(self.layers, found, strict=True) if integer)


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
