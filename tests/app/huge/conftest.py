"""Networks that look around themselves a known number of pixels, and images to slide windows over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fleetseg.app.huge.run import Outputs
from fleetseg.metadata import METADATA_KEY, ModelMetadata, NetworkSpec, Normalisation
from fleetseg.runtime import Model, load

#: A `blurring` network's answer at a pixel depends on so many pixels around it.
RADIUS = 7


@pytest.fixture
def colours(colour_onnx: Path) -> Model:
    """Its three classes are the channels: a pixel's class is its largest channel."""
    return load(colour_onnx, threads=1)


@pytest.fixture
def blurring(tmp_path: Path) -> Model:
    """Logits are means of the channels over 15×15 pixels, zeros beyond the image."""
    side = 2 * RADIUS + 1
    weights = np.zeros((3, 3, side, side), np.float32)
    for channel in range(3):
        weights[channel, channel] = 1 / side**2
    node = helper.make_node("Conv", ["image", "weights"], ["logits"], pads=[RADIUS] * 4)
    graph = helper.make_graph(
        [node],
        "blur",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, "height", "width"])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata = ModelMetadata(
        name="blur",
        network=NetworkSpec(name="blur", num_classes=3),
        classes=("red", "green", "blue"),
        palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)),
        normalisation=Normalisation(mean=(0, 0, 0), std=(1, 1, 1)),
        train_size=(64, 48),
    )
    entry = file.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, metadata.to_json()
    path = tmp_path / "blur.onnx"
    path.write_bytes(file.SerializeToString())
    return load(path, threads=1)


def clouds(width: int, height: int, seed: int = 0, grain: int = 12) -> np.ndarray:
    """(height, width, 3): colours that change every `grain` pixels or so."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // grain + 2, width // grain + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def outputs(tmp_path: Path) -> Callable[..., Outputs]:
    """Paths of results in a folder of that name."""

    def build(name: str = "out", overlay: bool = False) -> Outputs:
        folder = tmp_path / name
        return Outputs(
            folder / "a_labels.tif",
            folder / "a_areas.json",
            folder / "a_outlines.geojson",
            folder / "a_overlay.png" if overlay else None,
        )

    return build
