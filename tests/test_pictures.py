"""Pictures of results, looked at by their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from fleetseg.labels import CAMVID_11, LabelSet, label_set
from fleetseg.pictures import comparison, confusion_picture

TWO = label_set(["road", "car"], [[0, 0, 200], [200, 0, 0]])


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def counts(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.int64)


def test_right_is_green_and_wrong_is_red() -> None:
    diagonal = confusion_picture(counts([[5, 0, 0], [0, 5, 0], [0, 0, 0]]), TWO)
    assert (23, 110, 60) in colours(diagonal)
    assert (190, 40, 30) not in colours(diagonal)
    swapped = confusion_picture(counts([[0, 5, 0], [5, 0, 0], [0, 0, 0]]), TWO)
    assert (190, 40, 30) in colours(swapped)
    assert (23, 110, 60) not in colours(swapped)


def test_rows_are_shares_of_their_class() -> None:
    few, many = ([[1, 1, 0], [0, 2, 0], [0, 0, 0]], [[500, 500, 0], [0, 1000, 0], [0, 0, 0]])
    assert np.array_equal(confusion_picture(counts(few), TWO), confusion_picture(counts(many), TWO))


def test_no_class_gets_a_column_when_it_is_predicted() -> None:
    without = confusion_picture(counts([[5, 0, 0], [0, 5, 0], [7, 7, 7]]), TWO)
    shared = confusion_picture(counts([[5, 0, 5], [0, 5, 0], [7, 7, 7]]), TWO)
    # The caption sets the width of a matrix as small as this; its new column is the only one with red in it.
    red = (shared[..., 0] > 180) & (shared[..., 1] < 150)
    assert red.any()
    assert not ((without[..., 0] > 180) & (without[..., 1] < 150)).any()


@pytest.mark.parametrize("labels", [TWO, CAMVID_11, label_set([f"class {number}" for number in range(40)])])
def test_absent_classes_and_any_class_count(labels: LabelSet) -> None:
    size = labels.num_classes + 1
    picture = confusion_picture(np.zeros((size, size), np.int64), labels)
    assert (picture.dtype, picture.ndim) == (np.uint8, 3)
    assert picture.shape[1] > 300  # room for the caption


def test_comparison_marks_the_wrong_pixels_red() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    target = np.zeros((60, 80), np.uint8)
    prediction = target.copy()
    red = (205, 30, 20)
    assert red not in colours(comparison(image, target, prediction, TWO, "a"))
    prediction[10:20, 10:20] = 1
    target[50:, :] = 255  # unlabelled: cannot be wrong
    prediction[50:, :] = 1
    picture = comparison(image, target, prediction, TWO, "a")
    assert (picture.reshape(-1, 3) == red).all(axis=1).sum() == 100


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (360, 480), (30, 900)])
def test_comparison_of_any_size_has_room_for_its_words(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    picture = comparison(image, mask, mask, CAMVID_11, "a_long_name_of_an_image, mIoU 12.3")
    assert picture.shape[0] > 2 * size[0]
    assert picture.shape[1] >= 2 * size[1]
    assert picture.shape[1] > 200


def test_either_labels_or_predictions_sum_to_all() -> None:
    found = counts([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    tops = [
        np.argwhere((confusion_picture(found, TWO, by) == (23, 110, 60)).all(axis=2))[:, 0].min()
        for by in ("target", "prediction")
    ]
    # The full green of 100% is in the second row of the one, in the first row of the other.
    assert tops[1] + 40 < tops[0]
