"""ONNX files with integer maps and weights, for ONNX Runtime."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.exporters import onnx as onnx_exporter
from fleetseg.exporters.half_onnx import shorten_names
from fleetseg.exporters.source import source_of
from fleetseg.exporters.sub_pixel import without_transposed
from fleetseg.metadata import ExportedForm, ModelMetadata, carried
from fleetseg.quantise.onnx_graph import OnnxGraph, attribute
from fleetseg.quantise.onnx_plan import layers, watched_tensors
from fleetseg.quantise.onnx_preparation import prepare
from fleetseg.quantise.onnx_qdq import quantised
from fleetseg.quantise.onnx_ranges import measure_ranges
from fleetseg.quantise.onnx_widening import widen
from fleetseg.quantise.quantiser import Layer

#: Names of ONNX Runtime's integer kernels of convolutions.
_INTEGER_KERNELS = ("QLinearConv", "ConvInteger")


class OnnxQuantiser:
    """See `Quantiser`."""

    def __init__(
        self, network: Any, metadata: ModelMetadata, form: ExportedForm, batches: Sequence[npt.NDArray[Any]]
    ) -> None:
        """Trace, prepare and calibrate. `form` is the int8 file's; the network is left as it is."""
        import onnx

        self._fields = carried(metadata, form)
        plain = form.model_copy(update={"precision": "fp32"})
        source = source_of(without_transposed(copy.deepcopy(network)), metadata, plain)
        with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
            path = Path(folder) / "network.onnx"
            path.touch()
            onnx_exporter.write(source, path)
            self._model = prepare(onnx.load(path))
        convolutions = _convolutions(self._model)
        self._model = widen(self._model)
        measured = measure_ranges(self._model, [*watched_tensors(self._model), *convolutions], batches)
        self._ranges = measured.ranges
        costs = {name: measured.pixels[name] * each for name, each in convolutions.items()}
        self.layers: Sequence[Layer] = tuple(Layer(name, costs[name]) for name in layers(self._model))
        self.float_macs = sum(costs.values()) - sum(layer.macs for layer in self.layers)

    def write(self, path: Path, float_layers: Collection[str]) -> None:
        """See `Quantiser.write`."""
        import onnx

        model = quantised(self._model, self._ranges, float_layers)
        # What a layer is called stays; the rest would be a third of the file.
        shorten_names(model.graph, ("Conv",))
        del model.metadata_props[:]
        for key, value in self._fields.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())

    def write_alone(self, path: Path, layer: str) -> None:
        """See `Quantiser.write_alone`."""
        self.write(path, [other.name for other in self.layers if other.name != layer])

    def integer_layers(self, path: Path) -> frozenset[str]:
        """Read from the graph as ONNX Runtime's optimiser leaves it."""
        import onnx
        import onnxruntime

        with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            nodes = onnx.load(options.optimized_model_filepath).graph.node
        # The optimiser appends to the name of the node that it fuses.
        integer = {node.name.split("_token_")[0] for node in nodes if node.op_type in _INTEGER_KERNELS}
        names = {node.output[0]: node.name for node in self._model.graph.node}
        return frozenset(layer.name for layer in self.layers if names[layer.name] in integer)


def _convolutions(model: Any) -> dict[str, int]:
    """Output of each convolution that is more than a factor a channel → multiply-adds for one of its pixels."""
    graph = OnnxGraph(copy.deepcopy(model))
    quantisable = set(layers(model))
    found = {}
    for node in graph.nodes:
        weight = graph.constants.get(node.input[1]) if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None:
            continue
        if node.op_type == "Conv" and node.output[0] in quantisable:
            found[node.output[0]] = int(weight.size)
        elif node.op_type == "ConvTranspose":
            found[node.output[0]] = max(1, int(weight.size / np.prod(attribute(node, "strides", [1, 1]))))
    return found
