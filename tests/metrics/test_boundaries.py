from __future__ import annotations

import numpy as np
import pytest

from fleetseg.metrics import Borders, BoundaryMatches, TrimapMatrices
from fleetseg.metrics.borders import edges


def halves(column: int, width: int = 200, height: int = 100) -> np.ndarray:
    """Class 0 left of a column, class 1 from it on."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, column:] = 1
    return mask


def f1_of(target: np.ndarray, prediction: np.ndarray, num_classes: int = 2) -> np.ndarray:
    matches = BoundaryMatches(num_classes)
    matches.add(target, prediction)
    return matches.f1()


def test_edges_are_the_pixels_on_both_sides() -> None:
    found = edges(np.array([[0, 0, 1, 1]] * 2, np.uint8))
    assert found.tolist() == [[False, True, True, False]] * 2


def test_a_border_moved_within_the_tolerance_is_right_and_beyond_it_wrong() -> None:
    # The diagonal is 223.6 pixels, so borders match up to 1.68 pixels: by one pixel, not by two.
    assert f1_of(halves(100), halves(101)).tolist() == [1.0, 1.0]
    assert f1_of(halves(100), halves(102)).tolist() == [0.0, 0.0]


def test_precision_and_recall_are_counted_apart() -> None:
    target, prediction = halves(100), halves(100)
    prediction[:, 150:] = 0  # a second border that is not there: right 1/2 of class 1's, all of the true ones found
    matches = BoundaryMatches(2)
    matches.add(target, prediction)
    assert matches.counts[:, 1].tolist() == [100, 100, 200, 100]
    assert matches.f1()[1] == pytest.approx(2 * 0.5 / 1.5)


def test_a_class_without_borders_has_no_score_and_one_never_found_has_none_right() -> None:
    scores = f1_of(halves(100), np.zeros((100, 200), np.uint8), 3)
    assert scores[:2].tolist() == [0.0, 0.0] and np.isnan(scores[2])


def test_an_unlabelled_band_between_classes_has_its_border_in_the_middle() -> None:
    target = halves(100)
    target[:, 99:101] = 255  # as in PASCAL VOC
    borders = Borders.of(target, 2)
    assert borders is not None and (borders.filled == halves(100)).all()
    assert borders.distance[0, 99] == pytest.approx(1, abs=0.01) and borders.distance[0, 98] == 0
    assert f1_of(target, halves(100)).tolist() == [1.0, 1.0]


def test_what_is_predicted_far_inside_unlabelled_pixels_does_not_count() -> None:
    target = halves(100)
    target[20:80, 120:180] = 255
    prediction = halves(100)
    prediction[40:60, 140:160] = 0
    assert f1_of(target, prediction).tolist() == [1.0, 1.0]


def test_nothing_labelled_adds_nothing() -> None:
    target = np.full((10, 10), 255, np.uint8)
    assert np.isnan(f1_of(target, halves(5, 10, 10))).all()
    trimap = TrimapMatrices(2)
    trimap.add(target, halves(5, 10, 10))
    assert all(np.isnan(miou) for miou in trimap.miou().values())


def test_bands_hold_so_many_pixels_on_either_side() -> None:
    trimap = TrimapMatrices(2, (1, 4))
    trimap.add(halves(100), halves(100))
    assert [matrix.counts.sum() for matrix in trimap.matrices.values()] == [2 * 100, 8 * 100]


def test_a_mistake_at_the_border_weighs_more_in_narrow_bands() -> None:
    trimap = TrimapMatrices(2, (1, 4, 16))
    trimap.add(halves(100), halves(101))
    narrow, middle, wide = trimap.miou().values()
    assert narrow == pytest.approx((1 / 2 + 0) / 2)
    assert middle == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert narrow < middle < wide


def test_images_apart_give_what_images_together_give() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 3, (20, 30), np.uint8), rng.integers(0, 3, (20, 30), np.uint8)) for _ in range(4)]
    for kind in (BoundaryMatches, TrimapMatrices):
        whole, parts = kind(3), [kind(3), kind(3)]
        for number, pair in enumerate(pairs):
            whole.add(*pair)
            parts[number % 2].add(*pair)
        parts[0].merge(parts[1])
        if isinstance(whole, BoundaryMatches):
            assert (whole.counts == parts[0].counts).all() and whole.counts.any()
        else:
            assert whole.miou() == parts[0].miou()


def test_unlabelled_pixels_take_the_nearest_class() -> None:
    rng = np.random.default_rng(1)
    for share in (0.02, 0.3, 0.9):
        target = np.where(rng.random((24, 31)) < share, rng.integers(0, 4, (24, 31)), 255).astype(np.uint8)
        borders = Borders.of(target, 4)
        assert borders is not None
        rows, columns = np.nonzero(target < 4)
        for row, column in zip(*np.nonzero(target == 255), strict=True):
            away = np.hypot(rows - row, columns - column)
            # The distance is approximate, within 3%.
            candidates = target[rows, columns][away <= 1.03 * away.min()]
            assert borders.filled[row, column] in candidates
            assert borders.distance[row, column] == pytest.approx(away.min(), rel=0.03)


def test_widths_that_do_not_ascend_are_refused() -> None:
    for widths in ((4, 2), (0, 2), (2, 65)):
        with pytest.raises(ValueError, match="ascend from 1 to 64"):
            TrimapMatrices(2, widths)
