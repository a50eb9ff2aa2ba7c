"""Class statistics and weights against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fleetseg.data.base import Sample
from fleetseg.data.class_weights import (
    METHODS,
    ClassStatistics,
    class_pixel_counts,
    class_statistics,
    class_weights,
)
from fleetseg.data.opening import open_dataset
from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.labels import label_set


class Masks:
    """A data set of given masks; their images are black."""

    name = "masks"
    split = "train"

    def __init__(self, names: list[str], *masks: list[list[int]]) -> None:
        self.labels = label_set(names)
        self._masks = [np.array(mask, np.uint8) for mask in masks]

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index: int) -> Sample:
        mask = self._masks[index]
        return Sample(np.zeros((*mask.shape, 3), np.uint8), mask, f"mask_{index}")


# Image 0: four of class 0, one unlabelled. Image 1: two of class 0 and two of class 1. Class 2 never.
MASKS = Masks(["a", "b", "c"], [[0, 0, 0, 0, 255]], [[0, 0], [1, 1]])
STATISTICS = ClassStatistics(np.array([6, 2, 0]), np.array([8, 4, 0]))
NOTHING = ClassStatistics(np.zeros(2, np.int64), np.zeros(2, np.int64))


def test_statistics_leave_unlabelled_pixels_out() -> None:
    statistics = class_statistics(MASKS)
    assert statistics.pixels.tolist() == [6, 2, 0]
    assert statistics.present_image_pixels.tolist() == [8, 4, 0]
    assert statistics.pixels.dtype == statistics.present_image_pixels.dtype == np.int64
    assert class_pixel_counts(MASKS).tolist() == [6, 2, 0]


def test_a_mask_value_without_a_class_is_an_error() -> None:
    with pytest.raises(DataError, match=r"mask_1: its mask holds the value 3.*0 to 2.*255"):
        class_statistics(Masks(["a", "b", "c"], [[0]], [[3, 1]]))


# By hand, with p = 3/4, 1/4, 0; ln 1.77 = 0.570980, ln 1.27 = 0.239017, ln 1.02 = 0.0198026;
# f = 6/8, 2/4 with median 5/8. The class without pixels gets the rarest's weight, or the limit of 1/ln(c+p).
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("enet", [1.751376, 4.183804, 50.49835]),
        ("inverse", [8 / 12, 8 / 4, 8 / 4]),
        ("median", [5 / 6, 5 / 4, 5 / 4]),
        ("none", [1, 1, 1]),
    ],
)
def test_weights_by_hand(method: str, expected: list[float]) -> None:
    weights = class_weights(STATISTICS, method, 1.02)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_c_bounds_the_weights() -> None:
    # ln 1.85 = 0.615186, ln 1.35 = 0.300105, ln 1.1 = 0.0953102
    np.testing.assert_allclose(class_weights(STATISTICS, "enet", 1.1), [1.625525, 3.332171, 10.49206], rtol=1e-5)


def test_inverse_weights_average_one_over_the_pixels() -> None:
    weights = class_weights(STATISTICS, "inverse")
    assert np.sum(weights * STATISTICS.pixels) / STATISTICS.pixels.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
def test_weights_without_any_pixel_are_finite_and_equal(method: str) -> None:
    weights = class_weights(NOTHING, method)
    assert np.isfinite(weights).all()
    assert weights[0] == weights[1] > 0


@pytest.mark.parametrize("c", [1.0, 0.5, float("nan"), float("inf")])
def test_c_has_to_be_above_one(c: float) -> None:
    with pytest.raises(UsageError, match=r"above 1"):
        class_weights(STATISTICS, "enet", c)


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'medium'.*median"):
        class_weights(STATISTICS, "medium")


@pytest.mark.shared
def test_camvid_val_has_its_known_frequencies(shared_camvid) -> None:
    statistics = class_statistics(open_dataset(shared_camvid, "val"))
    # Every class occurs in some image; no image has more labelled pixels than pixels.
    assert statistics.pixels.sum() == 101 * 480 * 360 - 297_271
    assert (statistics.present_image_pixels <= statistics.pixels.sum()).all()
    assert (statistics.pixels <= statistics.present_image_pixels).all()
