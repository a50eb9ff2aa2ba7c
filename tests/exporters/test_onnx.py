"""ONNX files give the module's own logits at every size, from standard operations alone."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetseg.errors import MissingExtraError, OutputError
from fleetseg.exporters.onnx import OPSET, export_onnx
from fleetseg.metadata import METADATA_KEY, ModelMetadata, NetworkSpec, metadata_for
from fleetseg.models import SegmentationNetwork, network_names
from fleetseg.runtime.onnx_engine import OnnxEngine

#: Exporting hundreds of layers takes long: of the networks that the papers compare with, the quick suite sees these.
QUICK = (
    "enet",
    "enet-encoder",
    "espnet-a",
    "espnet-b",
    "espnet-c",
    "espnet",
    "segnet",
    "sqnet",
    "lrr-4x",
    "biopsy-espnet",
)

Build = Callable[..., Any]
Exported = tuple[SegmentationNetwork, onnx.ModelProto, OnnxEngine]


@pytest.fixture(
    scope="module",
    params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in network_names()],
)
def exported(
    request: pytest.FixtureRequest, random_network: Build, metadata_of: Build, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """A network of every kind, its ONNX file, and that file in an engine."""
    network = random_network(request.param, 5, seed=3)
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    export_onnx(network, metadata_of(network, request.param), path)
    return network, onnx.load(path), OnnxEngine(path.read_bytes(), str(path), threads=1)


def assert_equal(network: SegmentationNetwork, engine: OnnxEngine, batch: torch.Tensor) -> None:
    with torch.no_grad():
        expected = network(batch).numpy()
    logits = engine.run(batch.numpy())
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 9), (7, 8), (8, 8), (9, 7), (16, 24), (37, 53), (45, 60), (64, 1), (90, 121)]
)
def test_equals_the_module(exported: Exported, height: int, width: int) -> None:
    network, _, engine = exported
    generator = torch.Generator().manual_seed(height * width)
    assert_equal(network, engine, torch.randn(1, 3, height, width, generator=generator))
    # Whole numbers: max-pooling meets ties.
    assert_equal(network, engine, torch.randint(-2, 3, (2, 3, height, width), generator=generator).float())


@settings(max_examples=5)
@given(batch=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**31))
def test_equals_the_module_at_any_size(exported: Exported, batch: int, height: int, width: int, seed: int) -> None:
    network, _, engine = exported
    assert_equal(network, engine, torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)))


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of nested graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def test_standard_operations_alone(exported: Exported) -> None:
    _, model, _ = exported
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    operations = {node.op_type for node in nodes(model.graph)}
    assert {node.domain for node in nodes(model.graph)} == {""}
    assert not operations & {"MaxUnpool", "ScatterND", "ScatterElements", "Loop", "If", "Scan"}
    assert not any("training_mode" in (a.name for a in node.attribute if a.i) for node in nodes(model.graph))


def test_batch_height_and_width_are_free(exported: Exported) -> None:
    _, model, _ = exported

    def dimensions(value: onnx.ValueInfoProto) -> list[str | int]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, dimensions(image)) == ("image", ["batch", 3, "height", "width"])
    assert (logits.name, dimensions(logits)) == ("logits", ["batch", 5, "rows", "columns"])


def test_metadata_travels_inside(exported: Exported, metadata_of: Build) -> None:
    network, model, engine = exported
    expected = metadata_of(network, network.registered_name)
    assert {entry.key: entry.value for entry in model.metadata_props} == {METADATA_KEY: expected.to_json()}
    assert engine.metadata == expected


@pytest.mark.parametrize(
    ("name", "classes", "channels", "options"),
    [
        ("enet", 37, 20, {"decoder_activation": "prelu"}),
        ("enet", 2, 1, {"bias": False, "last_kernel_size": 3}),
        ("espnet", 2, 5, {"alpha3": 1}),
        ("espnet", 12, 3, {"decoder_channels": 19, "alpha3": 1}),
        ("espnet-c", 20, 1, {"reduce_kernel_size": 3}),
    ],
)
def test_other_channels_classes_and_options(
    name: str,
    classes: int,
    channels: int,
    options: dict[str, Any],
    random_network: Build,
    metadata_of: Build,
    tmp_path: Path,
) -> None:
    network = random_network(name, classes, channels, **options)
    export_onnx(network, metadata_of(network), tmp_path / "a.onnx")
    engine = OnnxEngine((tmp_path / "a.onnx").read_bytes(), "a.onnx", threads=1)
    assert_equal(network, engine, torch.randn(1, channels, 19, 30))


def test_a_users_own_module(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 2, 1)
    export_onnx(module, metadata_for(NetworkSpec(name="mine", num_classes=2), "mine", "ab"), tmp_path / "a.onnx")
    image = torch.randn(1, 3, 5, 6)
    logits = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"image": image.numpy()})[0]
    np.testing.assert_allclose(logits, module(image).detach().numpy(), atol=1e-5)


def test_the_network_stays_as_it_was(random_network: Build, metadata_of: Build, tmp_path: Path) -> None:
    network = random_network("espnet-a", 3).train()
    network.classifier.eval()
    network.to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export_onnx(network, metadata_of(network), tmp_path / "a.onnx")
    assert caught == []
    assert network.training
    assert not network.classifier.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert logging.getLogger("torch.onnx").level == level


@pytest.mark.parametrize("changes", [{"num_classes": 3}, {"output_stride": 8}])
def test_metadata_that_does_not_fit(changes: dict[str, int], tmp_path: Path) -> None:
    spec = NetworkSpec(**{"name": "mine", "num_classes": 2, **changes})
    metadata = metadata_for(spec, "mine", "abc"[: spec.num_classes])
    with pytest.raises(ValueError, match=r"logits have shape \(2, 2, 37, 53\); its metadata promises \(2, "):
        export_onnx(torch.nn.Conv2d(3, 2, 1), metadata, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def tiny() -> tuple[torch.nn.Module, ModelMetadata]:
    return torch.nn.Conv2d(3, 2, 1), metadata_for(NetworkSpec(name="mine", num_classes=2), "mine", "ab")


def test_without_onnx_the_sentence_is_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"^exporting to ONNX needs an extra: pip install 'fleetseg\[onnx\]'$"):
        export_onnx(*tiny(), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/a\.onnx: cannot be written"):
        export_onnx(*tiny(), tmp_path / "file" / "a.onnx")
