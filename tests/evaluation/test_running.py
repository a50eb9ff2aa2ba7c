from __future__ import annotations

import json

import numpy as np
import pytest

from fleetseg.data import Scenes
from fleetseg.errors import UsageError
from fleetseg.evaluation import Measures, Resized, class_table, evaluate
from fleetseg.labels import CAMVID_11, label_set
from fleetseg.metrics import BoundaryMatches, CalibrationBins, TrimapMatrices

from .listed import Listed

ROAD_CAR = label_set(["road", "car"])
#: Keys that ``fleetseg evaluate --json`` promises.
KEYS = {
    "miou",
    "class_iou",
    "class_accuracy",
    "class_precision",
    "frequency_weighted_iou",
    "absent_classes",
    "class_average_accuracy",
    "global_accuracy",
    "confusion_matrix",
    "images",
    "model",
    "engine",
}


def copy_red(image: np.ndarray) -> np.ndarray:
    return image[..., 0]


def test_a_perfect_predictor_on_the_scenes_scores_100() -> None:
    scenes = Scenes("val", 2, (96, 72))
    answers = iter([scenes[0].mask, scenes[1].mask])
    result = evaluate(lambda _image: next(answers), scenes, CAMVID_11.names)
    assert result.scores.miou == result.scores.global_accuracy == 1.0


def test_the_matrix_is_over_the_whole_split_not_a_mean_over_images() -> None:
    data = Listed(ROAD_CAR, [[0, 0, 0, 0], [0, 1, 1, 1]])
    result = evaluate(lambda image: np.zeros(image.shape[:2], np.uint8), data, ROAD_CAR.names)
    assert result.scores.iou == pytest.approx([5 / 8, 0.0])
    assert result.scores.miou == pytest.approx(5 / 16)  # the mean over images would be 0.5625 or so
    assert [image.miou for image in result.images] == pytest.approx([1.0, 1 / 8])
    assert [image.name for image in result.worst(1)] == ["image1"]


def test_classes_are_matched_by_name_whatever_their_order_and_case() -> None:
    data = Listed(ROAD_CAR, [[0, 1, 1]])
    swapped = evaluate(lambda image: 1 - image[..., 0], data, ("Car", "Road"))
    assert swapped.scores.miou == 1.0


def test_an_unlabelled_class_of_the_network_is_no_class() -> None:
    table = class_table(("road", "Unlabelled", "car"), ROAD_CAR)
    assert table[:3].tolist() == [0, 255, 1]
    data = Listed(ROAD_CAR, [[0, 0, 1, 255]])
    result = evaluate(lambda _image: np.array([[0, 1, 2, 2]], np.uint8), data, ("road", "Unlabelled", "car"))
    assert result.scores.iou == pytest.approx([1 / 2, 1.0])
    matrix = np.array(result.as_json("m", "e")["confusion_matrix"])
    assert matrix.shape == (3, 3) and matrix[0, 2] == 1 and matrix[2].sum() == 0


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (("road", "tram"), "the network predicts the class 'tram', which the data set does not have"),
        (("road",), "the data set has the class 'car', which the network does not predict"),
    ],
)
def test_other_classes_are_refused(classes: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        evaluate(copy_red, Listed(ROAD_CAR, [[0]]), classes)


def test_a_predictor_must_answer_with_a_mask_of_the_images_size() -> None:
    with pytest.raises(UsageError, match=r"image0 has shape \(2, 2\)"):
        evaluate(lambda _image: np.zeros((2, 2), np.uint8), Listed(ROAD_CAR, [[0, 1]]), ROAD_CAR.names)


def test_json_has_the_promised_keys_and_percentages() -> None:
    labels = label_set(["road", "car", "ghost"])
    figures = evaluate(copy_red, Listed(labels, [[0, 1, 255]]), labels.names).as_json("m", "onnxruntime")
    assert set(figures) == KEYS
    assert figures["class_iou"] == {"road": 100.0, "car": 100.0, "ghost": None}
    assert (figures["miou"], figures["images"], figures["engine"]) == (100.0, 1, "onnxruntime")
    assert np.array(figures["confusion_matrix"]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    json.dumps(figures, allow_nan=False)


def test_images_without_labels_are_not_the_worst() -> None:
    result = evaluate(copy_red, Listed(ROAD_CAR, [[255, 255], [0, 1]]), ROAD_CAR.names)
    assert [image.name for image in result.worst(5)] == ["image1"]


def test_more_metrics_stand_in_the_json() -> None:
    data = Listed(ROAD_CAR, [[0, 0, 1, 1], [0, 1, 1, 0]])
    measures = Measures(
        BoundaryMatches(2), TrimapMatrices(2, (1, 2)), CalibrationBins(2), categories={"all": (0, 1), "cars": (1,)}
    )
    result = evaluate(
        copy_red,
        data,
        ROAD_CAR.names,
        measures=measures,
        confident=lambda image: (copy_red(image), np.full(image.shape[:2], 0.75, np.float32)),
    )
    figures = result.as_json("m", "e", ["interval", "images"])
    assert figures["category_iou"] == {"mean": 100.0, "each": {"all": 100.0, "cars": 100.0}}
    assert figures["boundary_f1"]["each"] == {"road": 100.0, "car": 100.0}
    assert figures["trimap_miou"] == {"1": 100.0, "2": 100.0}
    assert figures["calibration"]["expected_error"] == pytest.approx(25, abs=0.01)
    assert figures["miou_interval"] == {"low": 100.0, "high": 100.0, "level": 95}
    assert [image["name"] for image in figures["per_image"]] == ["image0", "image1"]
    assert figures["per_image"][1]["class_iou"] == {"road": 100.0, "car": 100.0}
    json.dumps(figures, allow_nan=False)


def test_two_models_are_compared_image_by_image() -> None:
    data = Listed(ROAD_CAR, [[0, 0, 1, 1]] * 12)
    right = evaluate(copy_red, data, ROAD_CAR.names)
    wrong = evaluate(lambda image: np.zeros(image.shape[:2], np.uint8), data, ROAD_CAR.names)
    figures = right.compared(wrong).as_json()
    assert figures["miou_difference"] == 75.0 and figures["images"] == 12
    assert figures["p_value"] < 0.01


def test_labels_can_be_shrunk_to_what_the_network_sees() -> None:
    data = Resized(Listed(ROAD_CAR, [[0, 0, 1, 1]]), lambda own: (own[0] // 2, own[1]))
    assert data[0].mask.tolist() == [[0, 1]] and data[0].image.shape == (1, 2, 3)
    assert evaluate(copy_red, data, ROAD_CAR.names).scores.counts.sum() == 2
