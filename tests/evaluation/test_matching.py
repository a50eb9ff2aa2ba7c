from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleetseg.data.label_tables import rows
from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.evaluation import Choice, Grouping, evaluate, match_classes, read_grouping
from fleetseg.labels import CAMVID_11, CITYSCAPES_19, label_set

from .listed import Listed

STREET = label_set(["road", "car", "sky"])
MERGED = Grouping("mine", {"ground": ("road", "grass"), "thing": ("car", "bus")}, frozenset({"sky", "boat"}))


def test_classes_are_merged_by_name_and_the_rest_ignored_on_both_sides() -> None:
    matching = match_classes(("Bus", "grass", "boat", "unlabelled"), STREET, MERGED)
    target, prediction = np.array([[0, 1, 2, 0, 1, 1]], np.uint8), np.array([[1, 0, 1, 2, 2, 3]], np.uint8)
    wanted, found, uncounted = matching.apply(target, prediction)
    assert matching.labels.names == ("ground", "thing")
    # sky is ignored as a label, boat as a prediction (two labelled pixels); "unlabelled" stays a mistake.
    assert wanted.tolist() == [[0, 1, 255, 255, 255, 1]]
    assert found.tolist() == [[0, 1, 0, 255, 255, 255]]
    assert uncounted == 2


def test_pixels_without_a_counterpart_are_reported() -> None:
    data = Listed(STREET, [[0, 1, 2, 0]])
    matching = match_classes(("grass", "boat"), STREET, MERGED)
    result = evaluate(lambda _image: np.array([[0, 1, 1, 0]], np.uint8), data, ("grass", "boat"), matching=matching)
    assert result.uncounted == 1 and result.scores.miou == 1.0
    assert result.as_json("m", "e")["uncounted_pixels"] == 1


def test_ignored_classes_leave_labels_and_means() -> None:
    matching = match_classes(STREET.names, STREET).ignoring(["Car"])
    assert matching.labels.names == ("road", "sky")
    wanted, found, _ = matching.apply(np.array([[0, 1, 2]], np.uint8), np.array([[1, 0, 2]], np.uint8))
    assert wanted.tolist() == [[0, 255, 1]] and found.tolist() == [[255, 0, 1]]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(["tram"], "There is no class 'tram'"), (["road", "car", "sky"], "all 3 classes are to be ignored")],
)
def test_wrong_classes_to_ignore(names: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        match_classes(STREET.names, STREET).ignoring(names)


def test_a_class_that_the_grouping_does_not_know_is_named() -> None:
    with pytest.raises(UsageError, match="what becomes of the network's class 'tram'"):
        match_classes(("road", "tram"), STREET, MERGED)
    with pytest.raises(UsageError, match="what becomes of the data set's class 'tram'"):
        match_classes(("road",), label_set(["tram"]), MERGED)
    with pytest.raises(UsageError, match="leaves no class to score"):
        match_classes(("boat",), STREET, MERGED)


def test_cityscapes_networks_are_scored_on_camvid_by_its_classes() -> None:
    matching = match_classes(CITYSCAPES_19.names, CAMVID_11, read_grouping("camvid"))
    assert matching.labels.names == CAMVID_11.names
    assert matching.of_target[:11].tolist() == list(range(11))
    names = [CAMVID_11.names[group] for group in matching.of_prediction[:19]]
    expected = {1: "Pavement", 2: "Building", 3: "Building", 6: "SignSymbol", 9: "Tree", 12: "Bicyclist", 16: "Car"}
    assert {number: names[number] for number in expected} == expected and len(set(names)) == 11


@pytest.mark.shared
def test_the_map_of_camvid_equals_the_shared_one(shared_folder: Path) -> None:
    lines = (shared_folder / "label_maps" / "camvid11_to_cityscapes.csv").read_text().splitlines()[1:-1]
    theirs = [(line.split(",")[1], name) for line in lines for name in line.split(",")[3].split("; ")]
    assert [(row["camvid"], row["cityscapes"]) for row in rows("camvid_to_cityscapes")] == theirs


@pytest.mark.parametrize("release", ["mapillary_v1.2", "mapillary_v2.0"])
def test_mapillary_is_scored_by_categories(release: str) -> None:
    labels = label_set([row["name"] for row in rows(release)][:-1])
    matching = match_classes(CITYSCAPES_19.names, labels, read_grouping("cityscapes-categories"))
    assert matching.labels.names == ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    for position, row in enumerate(rows(release)[:-1]):
        group = matching.of_target[position]
        assert (matching.labels.names[group] if group != 255 else "void") == row["category"]
    assert matching.of_prediction[:19].max() < 7


def test_the_wide_categories_hold_more_of_mapillary() -> None:
    labels = label_set([row["name"] for row in rows("mapillary_v1.2")][:-1])
    narrow, wide = (
        match_classes(CITYSCAPES_19.names, labels, read_grouping(f"cityscapes-categories{suffix}")).of_target
        for suffix in ("", "-wide")
    )
    assert (wide != 255).sum() > (narrow != 255).sum()
    assert (wide == narrow)[narrow != 255].all()


def test_camvids_bicyclist_is_human_and_vehicle_so_no_category_holds_it() -> None:
    grouping = read_grouping("cityscapes-categories")
    assert grouping.knows("Bicyclist") and grouping.group_of("Bicyclist") is None
    assert grouping.group_of("Pavement") == "flat"


def test_a_grouping_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text("ground: [road, sidewalk]\nrest: [car]\nignored: [sky]\n")
    grouping = read_grouping(str(path))
    assert list(grouping.groups) == ["ground", "rest"] and grouping.knows("Sky")
    assert grouping.group_of("sky") is None and grouping.group_of("SIDEWALK") == "ground"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ground: [road]\nrest: [road]", "'road' is in 'ground' and in 'rest'"),
        ("ground: [road]\nignored: [road]", "'road' is in 'ground' and ignored"),
        ("ground: road", "'ground' is no list of class names"),
        ("ignored: [road]", "it names no groups"),
        ("[road]", "it names no groups"),
        ("ground: [road", "cannot be read as YAML"),
    ],
)
def test_wrong_groupings_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(text)
    with pytest.raises((DataError, UsageError), match=sentence) as caught:
        read_grouping(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_long_list_of_classes_is_cut() -> None:
    many = label_set([f"c{number}" for number in range(65)], None)
    with pytest.raises(UsageError, match=r"its classes are c0, c1, .*, c24 and 40 more$"):
        match_classes(["road"], many)


def test_unknown_groupings_and_metrics() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cityscapes"):
        read_grouping("cityscape")
    with pytest.raises(UsageError, match=r"nowhere\.yaml: there is no such file"):
        read_grouping("nowhere.yaml")
    with pytest.raises(UnknownNameError, match="did you mean boundary"):
        Choice(["boundery"]).wanted(Listed(STREET, [[0]]), STREET)
    with pytest.raises(UsageError, match="name them with --categories"):
        Choice(["category"]).measures({"category"}, CAMVID_11)
    with pytest.raises(UsageError, match="iIoU needs classes with Cityscapes' names"):
        Choice(["iiou"]).measures({"iiou"}, CAMVID_11)


def test_all_metrics_are_those_that_the_data_allow() -> None:
    data = Listed(CAMVID_11, [[0, 1]])
    assert Choice(["all"]).wanted(data, CAMVID_11) == {
        "iou", "precision", "boundary", "trimap", "calibration", "interval", "images",
    }  # fmt: skip
    assert "category" in Choice(["all"]).wanted(data, CITYSCAPES_19)


def test_iiou_needs_instances() -> None:
    data = Listed(CITYSCAPES_19, [[0, 13]])
    measures = Choice(["iiou"]).measures({"iiou"}, CITYSCAPES_19)
    with pytest.raises(UsageError, match="listed does not tell single objects apart"):
        evaluate(lambda image: image[..., 0], data, CITYSCAPES_19.names, measures=measures)
