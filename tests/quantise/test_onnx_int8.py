"""ONNX graphs with integers: what is rewritten first is exact, what is rounded stays near, and float layers stay."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from fleetseg.exporters import onnx as onnx_exporter
from fleetseg.exporters.source import source_of
from fleetseg.exporters.sub_pixel import without_transposed
from fleetseg.metadata import ExportedForm
from fleetseg.quantise.onnx_int8 import OnnxQuantiser
from fleetseg.quantise.onnx_preparation import prepare
from fleetseg.quantise.onnx_qdq import Scale
from fleetseg.quantise.onnx_widening import widen
from fleetseg.runtime import load

Build = Callable[..., Any]

SIZE = (32, 24)
FORM = ExportedForm(format="onnx", size=SIZE, precision="int8")


@pytest.fixture(scope="module", params=["enet", "espnet"])
def network(request: pytest.FixtureRequest, random_network: Build) -> Any:
    import torch

    small = {"alpha2": 1, "alpha3": 1} if request.param == "espnet" else {}
    built = random_network(request.param, 4, seed=3, **small)
    slopes = next(module for module in built.modules() if isinstance(module, torch.nn.PReLU))
    with torch.no_grad():
        slopes.weight[:2] = torch.tensor([1.5, -0.5])  # steeper than 1, and falling
    return built


@pytest.fixture(scope="module")
def batches() -> list[Any]:
    random = np.random.default_rng(1)
    return [random.standard_normal((1, 3, *SIZE[::-1])).astype(np.float32) for _ in range(6)]


@pytest.fixture(scope="module")
def quantiser(network: Any, metadata_of: Build, batches: list[Any]) -> OnnxQuantiser:
    return OnnxQuantiser(network, metadata_of(network), FORM, batches)


def run(model: Any, batch: Any) -> Any:
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": batch})[0]


@pytest.mark.parametrize("size", [SIZE, None])
def test_preparation_computes_the_same(
    size: Any, network: Any, metadata_of: Build, batches: list[Any], tmp_path: Path
) -> None:
    form = ExportedForm(format="onnx", size=size)
    path = tmp_path / "a.onnx"
    onnx_exporter.write(source_of(without_transposed(copy.deepcopy(network)), metadata_of(network), form), path)
    expected = run(onnx.load(path), batches[0])
    prepared = prepare(onnx.load(path))
    kinds = {node.op_type for node in prepared.graph.node}
    assert not kinds & {"PRelu", "BatchNormalization", "ConvTranspose"}
    np.testing.assert_allclose(run(prepared, batches[0]), expected, atol=1e-4 * np.abs(expected).max())
    narrow = [weight.dims[0] for weight in prepared.graph.initializer if len(weight.dims) == 4]
    widened = widen(prepared)
    wide = [weight.dims[0] for weight in widened.graph.initializer if len(weight.dims) == 4]
    fewer = sum(count % 16 > 0 for count in narrow) - sum(count % 16 > 0 for count in wide)
    assert fewer > 0 or size is None
    np.testing.assert_allclose(run(widened, batches[0]), expected, atol=1e-4 * np.abs(expected).max())


def relative_error(path: Path, network: Any, batch: Any) -> float:
    import torch

    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    found = load(path, threads=1).run(batch)  # type: ignore[attr-defined]
    return float(np.square(found - expected).mean() / np.square(expected).mean())


def test_every_layer_in_integers(quantiser: OnnxQuantiser, network: Any, batches: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    quantiser.write(path, ())
    assert quantiser.float_macs == 0
    assert quantiser.integer_layers(path) == {layer.name for layer in quantiser.layers}
    error = relative_error(path, network, batches[0])
    assert 1e-8 < error < 0.1
    model = load(path, threads=1)
    assert model.metadata.classes == ("class0", "class1", "class2", "class3")
    assert model.form.precision == "int8"  # type: ignore[attr-defined]
    # No map is turned to float between two layers.
    kinds = [node.op_type for node in optimised(path, tmp_path).graph.node]
    assert kinds.count("DequantizeLinear") <= 2


def optimised(path: Path, folder: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def test_float_layers_stay_float(quantiser: OnnxQuantiser, network: Any, batches: list[Any], tmp_path: Path) -> None:
    path, names = tmp_path / "a.onnx", [layer.name for layer in quantiser.layers]
    kept = names[1::2]
    quantiser.write(path, kept)
    assert quantiser.integer_layers(path) == set(names) - set(kept)
    quantiser.write_alone(path, names[3])
    assert quantiser.integer_layers(path) == {names[3]}
    alone = relative_error(path, network, batches[0])
    quantiser.write(path, ())
    assert 0 < alone < relative_error(path, network, batches[0])
    quantiser.write_alone(path, "")
    assert relative_error(path, network, batches[0]) < 1e-8


def test_layers_know_their_multiply_adds(network: Any, quantiser: OnnxQuantiser) -> None:
    from fleetseg.models.cost import multiply_adds

    found = sum(layer.macs for layer in quantiser.layers)
    # A transposed 3×3 convolution becomes a 2×2 one with four times the maps: 16 places instead of 9.
    assert multiply_adds(network, *SIZE) * 0.95 <= found <= multiply_adds(network, *SIZE) * 1.3


def test_classes_and_preprocessing_inside(network: Any, metadata_of: Build, tmp_path: Path) -> None:
    form = FORM.model_copy(update={"head": "classes", "preprocessing": True})
    images = [np.random.default_rng(k).integers(0, 256, (1, *SIZE[::-1], 3), dtype=np.uint8) for k in range(3)]
    quantiser = OnnxQuantiser(network, metadata_of(network), form, images)
    quantiser.write(tmp_path / "a.onnx", ())
    mask = load(tmp_path / "a.onnx", threads=1)(images[0][0])
    assert (mask.shape, mask.dtype, mask.max() < 4) == (SIZE[::-1], np.uint8, True)


def test_a_scale_holds_zero() -> None:
    for least, largest in ((0.5, 3.0), (-2.0, -1.0), (-1.0, 1.0), (0.0, 0.0)):
        scale = Scale.of(least, largest)
        assert (0 - float(scale.step) * (int(scale.zero) - int(scale.zero))) == 0
        reached = [float(scale.step) * (level - int(scale.zero)) for level in (0, 255)]
        assert reached[0] <= min(least, 0) + scale.step and reached[1] >= max(largest, 0) - scale.step


def test_cutting_backwards_is_no_idle_cut() -> None:
    """A flip of the channels (BGR inside) has the shape of what it flips."""
    graph = helper.make_graph(
        [helper.make_node("Slice", ["image", "from", "to", "axis", "step"], ["logits"])],
        "flip",
        [helper.make_tensor_value_info("image", 1, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", 1, [1, 3, 4, 4])],
        [
            onnx.numpy_helper.from_array(np.array([value], np.int64), name)
            for name, value in (("from", -1), ("to", -9), ("axis", 1), ("step", -1))
        ],
    )
    model = prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    batch = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
    np.testing.assert_array_equal(run(model, batch), batch[:, ::-1])
