"""Averaging over views, with the colour network, whose logits are the image's channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleetseg.errors import UsageError
from fleetseg.runtime import Model, load
from fleetseg.runtime.test_time import ViewedModel, Views


@pytest.fixture
def colours(colour_onnx: Path) -> Model:
    return load(colour_onnx)


def test_probabilities_sum_to_one_and_agree_with_mask_and_confidence(colours: Model, noise: np.ndarray) -> None:
    probabilities = colours.probabilities(noise)
    assert probabilities.shape == (3, *noise.shape[:2])
    assert probabilities.sum(axis=0) == pytest.approx(1, abs=1e-5)
    mask, confidence = colours.predict_with_confidence(noise)
    assert (probabilities.argmax(axis=0) == mask).all()
    assert probabilities.max(axis=0) == pytest.approx(confidence, abs=1e-5)


@pytest.mark.parametrize("views", [Views(flip=True), Views(window=(16, 8)), Views(window=(16, 8), overlap=0)])
def test_views_that_show_the_same_pixels_change_nothing(colours: Model, noise: np.ndarray, views: Views) -> None:
    """The network looks at single pixels, so mirror images and windows must give what the whole image gives."""
    viewed = ViewedModel(colours, views=views)
    assert viewed.probabilities(noise) == pytest.approx(colours.probabilities(noise), abs=1e-6)
    assert (viewed.predict(noise) == colours.predict(noise)).all()


def test_scales_are_averaged(colours: Model, noise: np.ndarray) -> None:
    height, width = noise.shape[:2]
    viewed = ViewedModel(colours, views=Views(scales=(1, 2)))
    expected = (colours.probabilities(noise) + colours.probabilities(noise, (2 * width, 2 * height))) / 2
    assert viewed.probabilities(noise) == pytest.approx(expected, abs=1e-6)
    mask, confidence = viewed.predict_with_confidence(noise)
    assert (mask == expected.argmax(axis=0)).all() and confidence == pytest.approx(expected.max(axis=0), abs=1e-6)


def test_windows_slide_over_the_resized_image_and_the_result_has_its_own_size(colours: Model) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:, 2] = 250
    image[:, :30, 0] = 250
    viewed = ViewedModel(colours, lambda own: (own[0] // 2, own[1] // 2), Views(window=(16, 16), flip=True))
    mask = viewed.predict(image)
    assert mask.shape == (40, 60)
    assert (mask[:, :28] == 0).all() and (mask[:, 32:] == 2).all()


def test_a_plain_view_is_the_models_own_answer(colours: Model, noise: np.ndarray) -> None:
    viewed = ViewedModel(colours, lambda own: (own[0] // 2, own[1] // 2))
    half = noise.shape[1] // 2, noise.shape[0] // 2
    assert (viewed.predict(noise) == colours.predict(noise, half)).all()
    assert (viewed.predict_with_confidence(noise)[1] == colours.confidence(noise, half)).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scales": ()}, "the scales"),
        ({"scales": (1, 0)}, "numbers above 0"),
        ({"overlap": 1.0}, "the overlap 1.0 is no part of a window"),
        ({"window": (0, 4)}, "a window of 0×4 is empty"),
    ],
)
def test_wrong_views_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Views(**options)


def test_a_network_of_one_size_sees_no_scales(colours: Model) -> None:
    colours.fixed_size = (32, 24)
    with pytest.raises(UsageError, match="compiled for 32×24"):
        ViewedModel(colours, views=Views(scales=(0.5, 1)))
    with pytest.raises(UsageError, match="compiled for 32×24"):
        ViewedModel(colours, views=Views(window=(16, 16)))
    assert ViewedModel(colours, views=Views(window=(32, 24), flip=True)) is not None
