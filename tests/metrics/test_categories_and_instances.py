from __future__ import annotations

import pickle

import numpy as np
import pytest

from fleetseg.metrics import ConfusionMatrix, InstanceSums, category_iou

MASK = np.uint8


def matrix_of(target: np.ndarray, prediction: np.ndarray, num_classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.add(target, prediction)
    return matrix


def test_a_mistake_within_a_category_is_none() -> None:
    target, prediction = np.array([[0, 0, 1, 2, 2]], MASK), np.array([[1, 0, 0, 2, 0]], MASK)
    iou = category_iou(matrix_of(target, prediction, 4).counts, [(0, 1), (2,), (3,)])
    assert iou[:2] == pytest.approx([3 / 4, 1 / 2])
    assert np.isnan(iou[2])


def test_no_class_is_missed_and_unlabelled_pixels_do_not_count() -> None:
    target, prediction = np.array([[0, 0, 255, 255]], MASK), np.array([[0, 255, 0, 1]], MASK)
    assert category_iou(matrix_of(target, prediction, 2).counts, [(0, 1)]) == pytest.approx([1 / 2])


def sums_of(target: np.ndarray, prediction: np.ndarray, instances: np.ndarray) -> InstanceSums:
    sums = InstanceSums({0: 4.0, 1: 2.0}, [(0, 1), (2,)])
    sums.add(instances, target, prediction)
    return sums


def test_instances_weigh_by_mean_size_over_their_own() -> None:
    # Class 0: an object of 4 pixels, all found, and one of 1 pixel, lost to class 1. One false positive from class 2.
    target = np.array([[0, 0, 0, 0, 0, 2]], MASK)
    prediction = np.array([[0, 0, 0, 0, 1, 0]], MASK)
    instances = np.array([[7, 7, 7, 7, 9, 0]], np.int32)
    sums = sums_of(target, prediction, instances)
    iiou = sums.class_iiou(matrix_of(target, prediction, 3).counts)
    assert iiou[0] == pytest.approx(4 / (4 + 4 + 1))
    assert iiou[1] == 0  # only predicted
    category = sums.category_iiou(matrix_of(target, prediction, 3).counts)
    assert category[0] == pytest.approx(8 / (8 + 0 + 1))
    assert np.isnan(category[1])  # class 2 has no instances


def test_groups_and_unlabelled_objects_have_no_weight() -> None:
    target = np.array([[0, 0, 255, 255]], MASK)
    sums = sums_of(target, target, np.array([[0, 0, 5, 5]], np.int32))
    assert len(sums.records()) == 0
    assert np.isnan(sums.class_iiou(matrix_of(target, target, 3).counts)[0])


def test_large_numbers_of_objects_cost_no_memory() -> None:
    target = np.array([[0, 0]], MASK)
    sums = sums_of(target, target, np.array([[2**31 - 1, 2**31 - 1]], np.int32))
    assert sums.records().tolist() == [[0, 2, 2, 2]]


def test_what_other_processes_counted_is_merged_exactly() -> None:
    rng = np.random.default_rng(0)
    images = [
        (
            rng.integers(0, 3, (9, 9), MASK),
            rng.integers(0, 3, (9, 9), MASK),
            rng.integers(0, 6, (9, 9)).astype(np.int32),
        )
        for _ in range(6)
    ]
    whole = InstanceSums({0: 4.1, 1: 2.3}, [(0, 1), (2,)])
    parts = [InstanceSums({0: 4.1, 1: 2.3}, [(0, 1), (2,)]) for _ in range(2)]
    matrix = ConfusionMatrix(3)
    for number, (target, prediction, instances) in enumerate(images):
        matrix.add(target, prediction)
        whole.add(instances, target, prediction)
        parts[number % 2].add(instances, target, prediction)
    parts[1].merge(pickle.loads(pickle.dumps(parts[0])))
    assert parts[1].class_iiou(matrix.counts) == whole.class_iiou(matrix.counts)
    assert len(whole.records()) > 6
