from __future__ import annotations

import numpy as np
import pytest

from fleetseg.metrics import CalibrationBins


def bins_of(target: list[int], prediction: list[int], confidence: list[float]) -> CalibrationBins:
    bins = CalibrationBins(2)
    bins.add(np.array(target, np.uint8), np.array(prediction, np.uint8), np.array(confidence, np.float32))
    return bins


def test_values_computed_by_hand() -> None:
    # Two pixels of 0.9, one right: gap 0.4; two of 0.6, both right: gap 0.4. One unlabelled pixel does not count.
    bins = bins_of([0, 1, 0, 0, 255], [0, 0, 0, 0, 0], [0.9, 0.9, 0.6, 0.6, 0.1])
    assert bins.error() == pytest.approx(0.4, abs=1e-4)
    assert bins.pixels.sum() == 4


def test_as_right_as_sure_is_no_error() -> None:
    assert bins_of([0] * 10, [0] * 9 + [1], [0.9] * 10).error() == pytest.approx(0, abs=1e-4)


def test_certainty_falls_into_the_last_bin_and_zero_into_the_first() -> None:
    bins = bins_of([0, 0], [0, 0], [1.0, 0.0])
    assert bins.pixels[-1] == 1 and bins.pixels[0] == 1


def test_predicting_no_class_is_wrong() -> None:
    assert bins_of([0], [255], [1.0]).error() == pytest.approx(1)


def test_nothing_labelled_has_no_error_to_name() -> None:
    assert np.isnan(bins_of([255], [0], [0.5]).error())


def test_images_apart_give_what_images_together_give_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    whole, parts = CalibrationBins(2), [CalibrationBins(2) for _ in range(3)]
    for part in parts:
        values = rng.integers(0, 2, (8, 9), np.uint8), rng.integers(0, 2, (8, 9), np.uint8)
        confidence = rng.random((8, 9), np.float32)
        part.add(*values, confidence)
        whole.add(*values, confidence)
    for other in (parts[2], parts[1]):
        parts[0].merge(other)
    assert parts[0].error() == whole.error()
