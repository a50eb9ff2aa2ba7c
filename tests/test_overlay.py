"""Class colours over an image, and the legend under it."""

from __future__ import annotations

import numpy as np
import pytest

from fleetseg.errors import UsageError
from fleetseg.image import overlay, with_legend
from fleetseg.labels import CAMVID_11, label_set

TWO = label_set(["road", "car"], [(200, 0, 0), (0, 0, 200)])


def test_blends_classes_and_leaves_the_rest() -> None:
    image = np.full((1, 4, 3), 100, np.uint8)
    mask = np.array([[0, 1, 255, 2]], np.uint8)
    blended = overlay(image, mask, TWO)
    assert blended.tolist() == [[[150, 50, 50], [50, 50, 150], [100] * 3, [100] * 3]]
    assert image.min() == 100


def test_opacity_from_image_to_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    mask = np.ones((5, 6), np.uint8)
    np.testing.assert_array_equal(overlay(image, mask, TWO, 0), image)
    assert np.unique(overlay(image, mask, TWO, 1).reshape(-1, 3), axis=0).tolist() == [[0, 0, 200]]


def test_wrong_arguments() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(UsageError, match=r"mask \(5, 4\) and image \(4, 5, 3\)"):
        overlay(image, np.zeros((5, 4), np.uint8), TWO)
    with pytest.raises(UsageError, match="from 0 to 1"):
        overlay(image, np.zeros((4, 5), np.uint8), TWO, 1.5)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


@pytest.mark.parametrize("size", [(1, 1), (480, 360), (3000, 20)])
def test_legend_shows_every_class_below_the_picture(size: tuple[int, int]) -> None:
    picture = np.full((size[1], size[0], 3), 17, np.uint8)
    legend = with_legend(picture, CAMVID_11)
    np.testing.assert_array_equal(legend[: size[1], : size[0]], picture)
    assert legend.shape[0] > size[1]
    assert all(has_colour(legend[size[1] :], colour) for colour in CAMVID_11.palette)


def test_legend_with_shares_leaves_out_absent_classes() -> None:
    picture = np.full((50, 300, 3), 17, np.uint8)
    labels = label_set(["road", "car", "sky"], [(200, 0, 0), (0, 0, 200), (0, 200, 0)])
    below = with_legend(picture, labels, [0.2, 0.8, 0.0])[50:]
    road, car, sky = (np.argwhere((below == colour).all(axis=-1)) for colour in labels.palette)
    assert len(sky) == 0
    assert car[:, 1].max() < road[:, 1].min(), "the larger share comes first"
