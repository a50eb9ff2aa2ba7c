"""Images in, class ids out, on a network whose answers are known: a pixel's class is its largest channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

import fleetseg
from fleetseg.errors import CheckpointError, ImageError, UsageError
from fleetseg.image import resize_image
from fleetseg.metadata import ModelMetadata, NetworkSpec, Normalisation
from fleetseg.runtime import Model
from fleetseg.runtime import model as module

Picture = npt.NDArray[np.uint8]


@pytest.fixture
def model(colour_onnx: Path) -> Model:
    return fleetseg.load(colour_onnx)


def test_what_hangs_on_a_model(model: Model) -> None:
    assert model.classes == ("red", "green", "blue") == model.labels.names
    assert model.palette == ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    assert model.engine == "onnxruntime"
    assert model.metadata.train_size == (32, 24)
    assert repr(model) == "Model('colours', 3 classes, engine='onnxruntime')"


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (8, 8), (640, 361)])
def test_mask_has_the_images_size_and_type(model: Model, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    mask = model(image)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, image.argmax(axis=2))


def test_logits_are_the_networks_own(model: Model, noise: Picture) -> None:
    logits = model.logits(noise)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, noise.transpose(2, 0, 1))


def test_views_are_images_too(model: Model, noise: Picture) -> None:
    flipped = noise[::-1, ::2, ::-1]
    np.testing.assert_array_equal(model(flipped), np.ascontiguousarray(flipped).argmax(axis=2))


def test_normalisation_of_the_metadata_is_applied(write_colour_onnx: Callable[..., Path], noise: Picture) -> None:
    normalisation = Normalisation(order="bgr", mean=(1, 2, 3), std=(2, 4, 5), scale=0.5)
    metadata = fleetseg.load(write_colour_onnx()).metadata.model_copy(update={"normalisation": normalisation})
    model = fleetseg.load(write_colour_onnx("bgr.onnx", metadata))
    expected = (noise[..., ::-1] - np.array([1, 2, 3])) / [2, 4, 5] * 0.5
    np.testing.assert_allclose(model.logits(noise), expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_confidence_is_the_softmax_of_the_mask(model: Model) -> None:
    image = np.array([[[0, 0, 0], [2, 1, 0], [0, 0, 255]]], np.uint8)
    mask, confidence = model.predict_with_confidence(image)
    assert mask.tolist() == [[0, 0, 2]]
    np.testing.assert_allclose(confidence, [[1 / 3, 1 / (1 + np.exp(-1) + np.exp(-2)), 1]], rtol=1e-6)
    np.testing.assert_array_equal(model.confidence(image), confidence)


def test_size_that_the_network_sees(model: Model, noise: Picture) -> None:
    seen = resize_image(noise, (16, 8)).astype(np.float32).transpose(2, 0, 1)
    back = F.interpolate(torch.from_numpy(seen)[None], size=(21, 37), mode="bilinear", align_corners=False)[0]
    mask = model.predict(noise, size=(16, 8))
    assert mask.shape == (21, 37)
    # Where two logits are nearly equal, the last bit may decide either way.
    clear = back.topk(2, dim=0).values.diff(dim=0)[0].abs().numpy() > 1e-3
    np.testing.assert_array_equal(mask[clear], back.argmax(dim=0).numpy()[clear])
    assert clear.mean() > 0.99


def test_output_stride_8(write_colour_onnx: Callable[..., Path], noise: Picture) -> None:
    model = fleetseg.load(write_colour_onnx(stride=8))
    logits = model.logits(noise)
    np.testing.assert_array_equal(logits, noise[::8, ::8].transpose(2, 0, 1))
    enlarged = F.interpolate(torch.from_numpy(logits)[None], scale_factor=8, mode="bilinear")[0, :, :21, :37]
    np.testing.assert_array_equal(model(noise), enlarged.argmax(dim=0).numpy())
    assert model.predict(noise, size=(80, 40)).shape == (21, 37)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("photo.jpg", r"the image is a str; a NumPy array is needed"),
        (np.zeros((4, 4, 3), np.float32), r"of type float32; uint8 with values from 0 to 255 is needed"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\); \(height, width, 3\) RGB is needed"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\); \(height, width, 3\) RGB is needed"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\); it must have at least one pixel"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "logits", "confidence"])
def test_wrong_images_are_usage_errors(model: Model, method: str, image: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        getattr(model, method)(image)


def test_empty_network_size(model: Model, noise: Picture) -> None:
    with pytest.raises(UsageError, match="0×8 is empty"):
        model.predict(noise, size=(0, 8))


def test_more_than_the_free_memory_is_refused_before_running(
    model: Model, noise: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 100 * module.bytes_per_pixel(model.metadata))
    with pytest.raises(ImageError, match=r"37×21 is 777 pixels, but .* lets the network see 100; use a smaller size"):
        model(noise)
    assert model.predict(noise, size=(10, 10)).shape == (21, 37)


class FakeEngine:
    """Answers with a given array, or raises."""

    name = "fake"

    def __init__(self, answer: npt.NDArray[np.float32] | Exception) -> None:
        self.answer = answer

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_size_beyond_all_memory_is_refused_before_resizing(model: Model, noise: Picture) -> None:
    with pytest.raises(ImageError, match=r"^100000×100000 is 10,000,000,000 pixels, but the free memory lets"):
        model.predict(noise, (100_000, 100_000))


def test_engine_out_of_memory_is_one_sentence(model: Model, noise: Picture) -> None:
    with pytest.raises(ImageError, match="37×21 pixels need more memory than is free"):
        Model(FakeEngine(MemoryError()), model.metadata)(noise)


def test_metadata_that_does_not_fit_the_graph(model: Model, noise: Picture) -> None:
    engine = FakeEngine(np.zeros((1, 2, 21, 37), np.float32))
    with pytest.raises(CheckpointError, match=r"^x\.onnx: .*\(2, 21, 37\) where its metadata promises \(3, 21, 37\)"):
        Model(engine, model.metadata, "x.onnx")(noise)


def test_networks_of_other_channel_counts(noise: Picture) -> None:
    metadata = ModelMetadata(
        name="grey",
        network=NetworkSpec(name="grey", num_classes=2, in_channels=1),
        classes=("dark", "light"),
        palette=((0, 0, 0), (255, 255, 255)),
        normalisation=Normalisation(mean=(0,), std=(1,)),
    )
    model = Model(FakeEngine(np.ones((1, 2, 21, 37), np.float32)), metadata)
    assert model(noise[..., :1]).shape == (21, 37)
    with pytest.raises(UsageError, match=r"\(height, width, 1\) is needed"):
        model(noise)
    with pytest.raises(CheckpointError, match="normalises 1 channels but the network has 3"):
        spec = metadata.network.model_copy(update={"in_channels": 3})
        Model(FakeEngine(MemoryError()), metadata.model_copy(update={"network": spec}))
