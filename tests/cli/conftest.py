"""A network of Cityscapes' classes for the commands that need one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fleetseg.labels import CITYSCAPES_19
from fleetseg.metadata import METADATA_KEY, NetworkSpec, metadata_for


@pytest.fixture
def road_onnx(tmp_path: Path) -> Path:
    """A network of Cityscapes' 19 classes that answers "road" everywhere."""
    weights, bias = np.zeros((19, 3, 1, 1), np.float32), np.zeros(19, np.float32)
    bias[0] = 1
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"])],
        "road",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 19, "height", "width"])],
        [onnx.numpy_helper.from_array(weights, "weights"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    entry = model.metadata_props.add()
    spec = NetworkSpec(name="road", num_classes=19)
    entry.key = METADATA_KEY
    entry.value = metadata_for(spec, "road", CITYSCAPES_19.names, CITYSCAPES_19.palette).to_json()
    path = tmp_path / "road.onnx"
    path.write_bytes(model.SerializeToString())
    return path
