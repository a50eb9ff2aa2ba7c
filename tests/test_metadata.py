"""What travels inside a file of weights: exact round trips, and the field's name for everything illegal."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fleetseg.errors import CheckpointError
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import ModelMetadata, NetworkSpec, Normalisation, metadata_for


def camvid_metadata() -> ModelMetadata:
    return ModelMetadata(
        name="enet-camvid",
        network=NetworkSpec(name="enet", num_classes=11, options={"bias": False}),
        classes=CAMVID_11.names,
        palette=CAMVID_11.palette,
        train_size=(480, 360),
        licence="CC BY-NC: research use",
        provenance={"seed": 3, "recipe": {"stages": [{"epochs": 2}]}},
    )


def test_round_trip() -> None:
    metadata = camvid_metadata()
    text = metadata.to_json()
    assert ModelMetadata.from_json(text, "a") == metadata
    assert ModelMetadata.from_json(text, "a").to_json() == text
    assert metadata.labels == CAMVID_11


def test_keys_in_the_file() -> None:
    assert set(json.loads(camvid_metadata().to_json())) == {
        "format_version",
        "name",
        "network",
        "classes",
        "palette",
        "ignore_index",
        "normalisation",
        "train_size",
        "licence",
        "provenance",
    }


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ({"format_version": 2}, "format_version", "Input should be 1"),
        ({"classes": ["Sky"]}, "the whole", "1 class names, 11 colours and a network of 11 classes"),
        ({"classes": ["Sky"] * 11}, "the whole", "the class name 'Sky' occurs twice"),
        ({"palette": [[0, 0, 300]] + [[0, 0, 0]] * 10}, "palette.0.2", "less than or equal to 255"),
        ({"palette": [[0, 0, -1]] + [[0, 0, 0]] * 10}, "palette.0.2", "greater than or equal to 0"),
        ({"network": {"name": "enet", "num_classes": 1}}, "network.num_classes", "greater than or equal to 2"),
        ({"network": {"name": "enet", "num_classes": 256}}, "network.num_classes", "less than or equal to 255"),
        ({"network": {"name": "enet", "num_classes": 11, "in_channels": 0}}, "network.in_channels", "or equal to 1"),
        ({"normalisation": {"mean": [1], "std": [1]}}, "the whole", "1 channels are normalised but the network has 3"),
        ({"normalisation": {"mean": [1, 2, 3], "std": [1, 2]}}, "normalisation", "mean has 3 values and std 2"),
        ({"normalisation": {"mean": [], "std": []}}, "normalisation", "mean has 0 values and std 0"),
        ({"normalisation": {"mean": [1, 2, 3], "std": [1, 0, 1]}}, "normalisation.std.1", "greater than 0"),
        ({"normalisation": {"scale": 0}}, "normalisation.scale", "greater than 0"),
        ({"normalisation": {"order": "gbr"}}, "normalisation.order", "'rgb' or 'bgr'"),
        ({"train_size": [480, 0]}, "train_size.1", "greater than or equal to 1"),
        ({"more": 1}, "more", "Extra inputs are not permitted"),
    ],
)
def test_illegal_fields_are_named(changes: dict[str, Any], place: str, reason: str) -> None:
    text = json.dumps({**json.loads(camvid_metadata().to_json()), **changes})
    with pytest.raises(CheckpointError) as caught:
        ModelMetadata.from_json(text, "weights.onnx")
    assert str(caught.value).startswith(f"weights.onnx: its fleetseg metadata is wrong at {place}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "nothing", '{"name": "x"}', "[" * 5000, '{"normalisation": {"scale": NaN}}']
)
def test_text_that_is_no_metadata(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"^a: its fleetseg metadata is wrong at "):
        ModelMetadata.from_json(text, "a")


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        camvid_metadata().name = "other"  # type: ignore[misc]


def test_defaults_fit_any_channel_count() -> None:
    for channels in (1, 3, 12):
        spec = NetworkSpec(name="enet", num_classes=2, in_channels=channels)
        metadata = metadata_for(spec, "x", ["a", "b"])
        assert len(metadata.normalisation.mean) == channels
        assert metadata.palette[0] != metadata.palette[1]
    assert Normalisation.default(3) == Normalisation()
    assert Normalisation.default(1).apply(np.array([[[0], [255]]], np.uint8)).ravel().tolist() == [-1.0, 1.0]


def test_normalisation_by_hand() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    normalisation = Normalisation(order="bgr", mean=(10, 20, 30), std=(2, 4, 5), scale=0.5)
    # Blue comes first: (30 − 10)/2/2, (20 − 20)/4/2, (10 − 30)/5/2.
    batch = normalisation.apply(image)
    assert batch.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(batch.ravel(), [5, 0, -2])
    straight = normalisation.model_copy(update={"order": "rgb"}).apply(image)
    np.testing.assert_allclose(straight.ravel(), [0, 0, 0])


@given(
    height=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 2**31), order=st.sampled_from(["rgb", "bgr"])
)
def test_normalisation_is_the_formula(height: int, width: int, seed: int, order: Any) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    normalisation = Normalisation(order=order, mean=(72.4, 82.9, 73.2), std=(45.3, 46.2, 44.9), scale=1 / 255)
    batch = normalisation.apply(image)
    assert (batch.dtype, batch.flags.c_contiguous) == (np.float32, True)
    channels = image.astype(np.float64)[..., :: 1 if order == "rgb" else -1]
    expected = (channels - normalisation.mean) / normalisation.std / 255
    np.testing.assert_allclose(batch[0], expected.transpose(2, 0, 1), atol=1e-6)
