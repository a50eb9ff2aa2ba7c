from __future__ import annotations

import numpy as np
import pytest

from fleetseg.metrics import ConfusionMatrix, ImageCounts, miou_interval, paired_test


def counts_of(rights: list[float], seed: int = 0, pixels: int = 400) -> ImageCounts:
    """Images of two classes of which a share of the pixels is right."""
    rng, rows = np.random.default_rng(seed), []
    for right in rights:
        target = rng.integers(0, 2, (1, pixels), np.uint8)
        matrix = ConfusionMatrix(2)
        matrix.add(target, np.where(rng.random(target.shape) < right, target, 1 - target).astype(np.uint8))
        rows.append(matrix.scores().sums())
    return ImageCounts.of(rows, 2)


def test_the_value_is_the_miou_over_the_whole_split() -> None:
    total, rows = ConfusionMatrix(3), []
    rng = np.random.default_rng(2)
    for _ in range(5):
        one = ConfusionMatrix(3)
        one.add(rng.integers(0, 3, (6, 7), np.uint8), rng.integers(0, 3, (6, 7), np.uint8))
        total.merge(one)
        rows.append(one.scores().sums())
    interval = miou_interval(ImageCounts.of(rows, 3))
    assert interval.value == pytest.approx(total.scores().miou, abs=1e-12)
    assert interval.low <= interval.value <= interval.high


def test_equal_images_leave_no_doubt() -> None:
    one = counts_of([0.8])
    many = ImageCounts(np.repeat(one.sums, 20, axis=0))
    interval = miou_interval(many)
    assert interval.low == pytest.approx(interval.high)


def test_more_images_narrow_the_interval() -> None:
    rng = np.random.default_rng(3)
    few, many = (miou_interval(counts_of(list(rng.uniform(0.5, 1, number)))) for number in (10, 160))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth = miou_interval(counts_of([0.7, 0.9] * 300, seed=99), resamples=2).value
    rng = np.random.default_rng(4)
    inside = 0
    for seed in range(60):
        interval = miou_interval(counts_of(list(rng.choice([0.7, 0.9], 40)), seed), resamples=300, seed=seed)
        inside += interval.low <= truth <= interval.high
    assert 51 <= inside <= 60  # 95% of 60 is 57; below 51 has a probability of 1 in 300 for a true 95%


def test_the_same_model_twice_differs_by_nothing() -> None:
    counts = counts_of([0.6, 0.7, 0.8, 0.9])
    test = paired_test(counts, counts)
    assert (test.difference.value, test.difference.low, test.difference.high, test.p_value) == (0, 0, 0, 1)


def test_a_better_model_is_told_from_chance() -> None:
    better, worse = counts_of([0.9] * 30, 1), counts_of([0.8] * 30, 2)
    test = paired_test(better, worse)
    assert test.difference.low > 0 and test.p_value < 0.01
    turned = paired_test(worse, better)
    assert turned.difference.value == -test.difference.value


def test_models_that_win_on_one_image_each_are_not_told_apart() -> None:
    assert paired_test(counts_of([0.9, 0.6] * 10, 1), counts_of([0.6, 0.9] * 10, 2)).p_value > 0.05


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="other images or classes"):
        paired_test(counts_of([0.9]), counts_of([0.9, 0.8]))


def test_nothing_labelled_has_no_interval() -> None:
    interval = miou_interval(ImageCounts(np.zeros((2, 3, 4), np.int64)))
    assert all(np.isnan([interval.value, interval.low, interval.high]))
