from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleetseg.metrics import ConfusionMatrix, normalised

Mask = npt.NDArray[np.uint8]


def matrix_of(target: list[int], prediction: list[int], num_classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.add(np.array([target], np.uint8), np.array([prediction], np.uint8))
    return matrix


def test_values_computed_by_hand() -> None:
    # class 0: 3 pixels, 2 found; class 1: 2 pixels, 2 found, 1 false; class 2 occurs nowhere.
    scores = matrix_of([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], 3).scores()
    assert scores.iou[:2] == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(scores.iou[2]) and np.isnan(scores.accuracy[2])
    assert scores.accuracy[:2] == pytest.approx([2 / 3, 1.0])
    assert scores.miou == pytest.approx(2 / 3)
    assert scores.class_average_accuracy == pytest.approx(5 / 6)
    assert scores.global_accuracy == pytest.approx(4 / 5)


def test_rows_are_targets() -> None:
    counts = matrix_of([0, 0, 1], [1, 1, 1], 2).counts
    assert counts[0, 1] == 2 and counts[1, 0] == 0


def test_unlabelled_pixels_are_ignored_unless_asked_for() -> None:
    matrix = matrix_of([0, 255, 255], [0, 0, 1], 2)
    assert matrix.scores().miou == 1.0
    counted = matrix.scores(count_unlabelled=True)
    assert counted.iou[0] == pytest.approx(1 / 2)  # one hit, one false positive
    assert counted.iou[1] == 0.0
    assert counted.global_accuracy == 1.0  # accuracies are over labelled pixels either way


def test_predicting_no_class_on_a_labelled_pixel_is_an_error() -> None:
    scores = matrix_of([0, 0, 1, 1], [0, 255, 1, 2], 2).scores()
    assert scores.iou == pytest.approx([1 / 2, 1 / 2])
    assert scores.global_accuracy == pytest.approx(1 / 2)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    scores = matrix_of([0, 0], [0, 1], 2).scores()
    assert scores.iou == pytest.approx([1 / 2, 0.0])
    assert scores.class_average_accuracy == pytest.approx(1 / 2)  # class 1 has no pixels to be right on


def test_nothing_labelled_has_no_score() -> None:
    scores = matrix_of([255, 255], [0, 1], 2).scores()
    assert np.isnan(scores.miou) and np.isnan(scores.global_accuracy)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and prediction \(3, 2\)"):
        ConfusionMatrix(2).add(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


masks = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(masks, masks)
def test_equals_a_count_pixel_by_pixel(target: Mask, prediction: Mask) -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(target, prediction)
    for class_id in range(4):
        labelled = [(t, p) for t, p in zip(target.flat, prediction.flat, strict=True) if t != 255]
        hits = sum(t == class_id == p for t, p in labelled)
        union = sum(class_id in (t, p) for t, p in labelled)
        iou = matrix.scores().iou[class_id]
        assert np.isnan(iou) if union == 0 else iou == pytest.approx(hits / union)


@given(masks, masks, masks, masks)
def test_merging_equals_counting_at_once(a: Mask, b: Mask, c: Mask, d: Mask) -> None:
    apart, merged = [ConfusionMatrix(4) for _ in range(2)], ConfusionMatrix(4)
    for matrix, target, prediction in zip(apart, (a, c), (b, d), strict=True):
        matrix.add(target, prediction)
        merged.add(target, prediction)
    apart[0].merge(pickle.loads(pickle.dumps(apart[1])))
    assert (apart[0].counts == merged.counts).all()
    assert merged.counts.sum() == a.size + c.size


def test_counts_beyond_32_bits() -> None:
    matrix = matrix_of([0, 1], [0, 1], 2)
    matrix.counts *= 2**33
    assert matrix.counts.dtype == np.int64
    assert matrix.scores().global_accuracy == 1.0


def test_matrices_over_other_classes_are_not_merged() -> None:
    with pytest.raises(ValueError, match="2 and 3 classes cannot be merged"):
        ConfusionMatrix(2).merge(ConfusionMatrix(3))


def test_an_image_larger_than_a_block_is_counted_whole() -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 5, (300, 301), np.uint8), rng.integers(0, 5, (300, 301), np.uint8)
    matrix = ConfusionMatrix(4)
    matrix.add(target[::, ::-1], prediction[::, ::-1])  # views that are not contiguous
    expected = [[((target == t) & (prediction == p)).sum() for p in range(5)] for t in range(5)]
    assert (matrix.counts == expected).all()


def test_precision_and_frequency_weighted_iou_by_hand() -> None:
    # class 0: 3 pixels, 2 found, IoU 2/3; class 1: 1 pixel, found, one false, IoU 1/2; class 2 occurs nowhere.
    scores = matrix_of([0, 0, 0, 1], [0, 0, 1, 1], 3).scores()
    assert scores.precision[:2] == pytest.approx([1.0, 1 / 2])
    assert np.isnan(scores.precision[2])
    assert scores.frequency_weighted_iou == pytest.approx((3 * 2 / 3 + 1 * 1 / 2) / 4)
    assert scores.absent() == (2,)


def test_the_matrix_is_normalised_either_way() -> None:
    counts = np.array([[3, 1], [0, 4], [0, 0]], np.int64)
    by_target = normalised(counts, "target")
    assert by_target[:2].tolist() == [[0.75, 0.25], [0, 1]] and np.isnan(by_target[2]).all()
    assert normalised(counts, "prediction").tolist() == [[1, 0.2], [0, 0.8], [0, 0]]
