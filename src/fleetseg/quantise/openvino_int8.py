"""OpenVINO files that NNCF quantised, and layers of them turned back to float."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.exporters import openvino as openvino_exporter
from fleetseg.exporters.source import source_of
from fleetseg.metadata import ExportedForm, ModelMetadata, carried
from fleetseg.quantise.quantiser import Layer

#: Kind → axes of its weights over which one output value is summed.
_SUMMED = {"Convolution": (1, 2, 3), "GroupConvolution": (2, 3, 4), "ConvolutionBackpropData": (0, 2, 3)}

#: Operations that seek maxima. Rounded maps have several equal ones, of which un-pooling takes the wrong place.
_SEEKING = frozenset({"MaxPool", "Equal"})
#: And those whose outputs are maxima and the places of maxima.
_MAXIMA = frozenset({"MaxPool", "Select"})
_MOVING = frozenset({"Reshape", "Transpose", "DepthToSpace", "Pad", "Slice", "StridedSlice", "Squeeze", "Unsqueeze"})

#: What the CPU plugin calls such layers, and its integer types.
_LAYERS = frozenset({"Convolution", "Deconvolution"})
_INTEGERS = frozenset({"i8", "u8"})


class OpenVinoQuantiser:
    """See `Quantiser`. NNCF calibrates once; later files differ in which of its roundings they leave out."""

    def __init__(
        self, network: Any, metadata: ModelMetadata, form: ExportedForm, batches: Sequence[npt.NDArray[Any]]
    ) -> None:
        """Convert, then quantise everything. `form` is the int8 file's."""
        import nncf

        self._fields = carried(metadata, form)
        plain = form.model_copy(update={"precision": "fp32"})
        self._float = openvino_exporter.converted(source_of(network, metadata, plain))
        self._shape = batches[0].shape
        self.layers: Sequence[Layer] = tuple(_layers(self._float, self._shape))
        self.float_macs = 0
        with _quiet():
            # "Mixed": symmetric weights and asymmetric maps, as PReLU's negative side needs.
            self._quantised = nncf.quantize(
                self._float,
                nncf.Dataset(list(batches)),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(batches),
                # Layer after layer, as if each met what the ones before it made of the images: slower, but half as
                # much is lost (docs/quantisation.md).
                fast_bias_correction=False,
            )
        _keep_maxima(self._quantised)

    def write(self, path: Path, float_layers: Collection[str]) -> None:
        """See `Quantiser.write`."""
        self._save(self._with_float(float_layers), path)

    def write_alone(self, path: Path, layer: str) -> None:
        """See `Quantiser.write_alone`."""
        model = self._with_float({one.name for one in self.layers} - {layer})
        for operation in model.get_ordered_ops():
            if operation.get_type_name() == "FakeQuantize":
                for reader in operation.output(0).get_target_inputs():
                    if reader.get_node().get_friendly_name() != layer:
                        reader.replace_source_output(operation.input_value(0))
        self._save(model, path)

    def _with_float(self, layers: Collection[str]) -> Any:
        """A copy of the quantised model in which these layers compute what they did before."""
        model = self._quantised.clone()
        original = {operation.get_friendly_name(): operation for operation in self._float.get_ordered_ops()}
        for operation in model.get_ordered_ops():
            if operation.get_friendly_name() in layers and operation.get_type_name() in _SUMMED:
                _turn_back(operation, original)
        return model

    def _save(self, model: Any, path: Path) -> None:
        openvino_exporter.shorten_names(model, {layer.name for layer in self.layers})
        openvino_exporter.save(model, self._fields, path, small=True)

    def integer_layers(self, path: Path) -> frozenset[str]:
        """Read from the graph as the CPU plugin compiled it."""
        import openvino

        model = openvino.Core().read_model(path)
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        known = {layer.name for layer in self.layers}
        found: set[str] = set()
        for operation in compiled.get_runtime_model().get_ordered_ops():
            told = operation.get_rt_info()
            kind, precision = (told[key].astype(str) for key in ("layerType", "runtimePrecision"))
            if kind in _LAYERS and precision.lower() in _INTEGERS:
                found |= known.intersection(told["originalLayersNames"].astype(str).split(","))
        return frozenset(found)


def _layers(model: Any, shape: tuple[int, ...]) -> Iterator[Layer]:
    sized = model.clone()
    sized.reshape(list(shape))
    for operation in sized.get_ordered_ops():
        axes = _SUMMED.get(operation.get_type_name())
        if axes is None:
            continue
        weights = operation.input_value(1).get_shape()
        summed = int(np.prod([weights[axis] for axis in axes]))
        values = int(np.prod(operation.get_output_shape(0)))
        if operation.get_type_name() == "ConvolutionBackpropData":
            # Every input value meets each of the kernel's places, not every output value.
            places = [int(np.prod(side[2:])) for side in (operation.get_input_shape(0), operation.get_output_shape(0))]
            summed = summed * places[0] // places[1]
        yield Layer(operation.get_friendly_name(), values * max(1, summed))


def _keep_maxima(model: Any) -> None:
    """Where maxima are put back to their places: maps in which they are sought, and they, are not rounded.

    But for layers, which go on reading integers.
    """
    operations = model.get_ordered_ops()
    if not any(operation.get_type_name() == "Equal" for operation in operations):
        return
    for operation in operations:
        if operation.get_type_name() != "FakeQuantize":
            continue
        source = operation.input_value(0)
        of_maxima = source.get_node().get_type_name() in _MAXIMA
        for reader in operation.output(0).get_target_inputs():
            node = reader.get_node()
            if node.get_type_name() in _SEEKING or (of_maxima and not _ends_in_layer(node)):
                reader.replace_source_output(source)


def _ends_in_layer(operation: Any) -> bool:
    """Whether it is a layer, or only moves values on their way to one."""
    kind = operation.get_type_name()
    readers = operation.output(0).get_target_inputs() if kind in _MOVING else ()
    return kind in _SUMMED or any(_ends_in_layer(reader.get_node()) for reader in readers)


def _turn_back(operation: Any, original: Mapping[str, Any]) -> None:
    """The layer reads the map before it was rounded, its float weights, and the bias that NNCF corrected for both."""
    rounded = operation.input_value(0).get_node()
    if rounded.get_type_name() == "FakeQuantize":
        operation.input(0).replace_source_output(rounded.input_value(0))
    _restore(operation, original)
    for reader in operation.output(0).get_target_inputs():
        if reader.get_node().get_type_name() == "Add":
            _restore(reader.get_node(), original)


def _restore(operation: Any, original: Mapping[str, Any]) -> None:
    """The constants that `operation` had in the float model."""
    from openvino import opset13

    former = original.get(operation.get_friendly_name())
    for place, value in enumerate([] if former is None else former.input_values()):
        if value.get_node().get_type_name() == "Constant":
            restored = opset13.constant(np.array(value.get_node().data))
            operation.input(place).replace_source_output(restored.output(0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's log and its progress bars."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(StringIO()):
        yield
