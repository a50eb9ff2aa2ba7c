"""Descriptions in YAML: options of formats, renamed and joined splits, division by group, label maps."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fleetseg.data import open_dataset
from fleetseg.data.checking import check_data
from fleetseg.data.division import divide
from fleetseg.data.label_map import LabelMap
from fleetseg.data.opening import available_splits
from fleetseg.errors import FleetsegError, UsageError
from fleetseg.labels import label_set


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def patients(tmp_path: Path, write_pair) -> Path:
    """Twelve images of four patients in one folder of three classes."""
    for number in range(12):
        write_pair(tmp_path, f"images/p{number // 3}_{number}.png", f"labels/p{number // 3}_{number}.png", number % 3)
    (tmp_path / "classes.yaml").write_text("names: [road, car, bird]\n")
    return tmp_path


def test_division_by_group(patients: Path) -> None:
    data = write(patients / "by_patient.yaml", "division: {group: '^(p\\d)_', val: 0.25, test: 0.25, seed: 1}\n")
    assert available_splits(data) == ("train", "val", "test")
    names = {split: [open_dataset(data, split)[i].name for i in range(len(open_dataset(data, split)))] for split in
             ("train", "val", "test")}  # fmt: skip
    assert {split: len(found) for split, found in names.items()} == {"train": 6, "val": 3, "test": 3}
    groups = [{name[:2] for name in found} for found in names.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_division_by_image(patients: Path) -> None:
    data = write(patients / "d.yaml", "division: {by: image, val: 0.5, seed: 3}\n")
    train, val = open_dataset(data, "train"), open_dataset(data, "val")
    assert (len(train), len(val)) == (6, 6)
    assert {train[i].name for i in range(6)}.isdisjoint(val[i].name for i in range(6))


@pytest.mark.parametrize("seed", [None, 0, 5])
def test_divide_keeps_groups_together(seed: int | None) -> None:
    groups = [f"g{number // 7}" for number in range(60)]
    parts = divide(groups, 0.2, 0.1, seed)
    assert sorted(index for part in parts.values() for index in part) == list(range(60))
    owners = [{groups[index] for index in part} for part in parts.values()]
    assert not any(owners[a] & owners[b] for a, b in ((0, 1), (0, 2), (1, 2)))
    assert abs(len(parts["val"]) - 12) <= 4 and abs(len(parts["test"]) - 6) <= 4
    assert divide(["one"] * 3, 0.2)["train"] == [0, 1, 2]


def test_a_label_map_merges_drops_and_ignores() -> None:
    labels = label_set(["road", "car", "truck", "bird", "sky"])
    result, table = LabelMap({"vehicle": ["car", "truck"]}, drop=["bird"], ignore=["sky"]).apply(labels)
    assert result.names == ("road", "vehicle", "background")
    assert table[:5].tolist() == [0, 1, 1, 2, 255]
    assert table[255] == 255
    assert result.palette[1] == labels.palette[1]
    assert LabelMap(classes=["sky", "road", "car", "truck", "bird"]).apply(labels)[1][:5].tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (LabelMap({"v": ["lorry"]}), "lorry"),
        (LabelMap({"v": ["car"]}, drop=["car"]), "twice"),
        (LabelMap(classes=["road"]), "lacks 'car'"),
    ],
)
def test_label_maps_that_cannot_be_meant(rules: LabelMap, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        rules.apply(label_set(["road", "car"]))


def test_a_label_map_of_a_description(patients: Path) -> None:
    data = write(patients / "m.yaml", "splits: {both: train+val}\nlabel_map:\n  merge: {thing: [car, bird]}\n")
    both = open_dataset(data, "both")
    assert both.labels.names == ("road", "thing")
    assert len(both) == 12
    assert [int(both[index].mask[0, 0]) for index in range(3)] == [0, 1, 1]
    report = check_data(data, ["both"])
    assert report.problems == []
    assert report.splits[0].pixels.tolist() == [4 * 24, 8 * 24]


def test_options_of_annotation_formats(official: ModuleType, tmp_path: Path) -> None:
    official.coco(tmp_path / "deep" / "coco")
    (tmp_path / "deep/coco/annotations/instances_train2017.json").rename(tmp_path / "deep/coco/mine.json")
    data = write(
        tmp_path / "c.yaml",
        "format: coco-instances\nroot: deep/coco\nimages: train2017\nannotations: mine.json\nunannotated: ignore\n"
        "names: [couch, person]\n",
    )
    everything = open_dataset(data, "all")
    assert everything.labels.names == ("couch", "person")
    assert (everything[0].mask[0, 0], everything[0].mask[6, 6], everything[0].mask[10, 10]) == (255, 0, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fromat: coco\n", "unknown key 'fromat'; legal here: format, root"),
        ("format: cocoa\n", "cocoa"),
        ("division: {val: 0.7, test: 0.5}\n", "leave nothing for train"),
        ("division: {group: '('}\n", "no regular expression"),
        ("- 1\n", "mapping"),
        ("root: nowhere\n", "nowhere"),
        ("format: folder\nnames: [a]\n", "belongs to the annotation formats"),
        ("images: ../../etc\n", "below root"),
        ("a: [\n", "YAML"),
    ],
)
def test_descriptions_that_cannot_be_meant(patients: Path, text: str, said: str) -> None:
    data = write(patients / "wrong.yaml", text)
    with pytest.raises(FleetsegError, match=said) as caught:
        open_dataset(data, "train")
    assert "wrong.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rgb_coded_masks_with_a_palette(tmp_path: Path, official: ModuleType) -> None:
    colours = np.array([(128, 64, 128), (0, 0, 142), (0, 0, 0)], np.uint8)
    ids = np.array([[0, 1, 2, 1]] * 4)
    official.save(tmp_path / "images/train/a.png", official.picture((4, 4), 1))
    label = official.save(tmp_path / "labels/train/a.png", colours[ids])
    (tmp_path / "classes.yaml").write_text("names: [road, car]\npalette: [[128, 64, 128], [0, 0, 142]]\n")
    train = open_dataset(tmp_path, "train")
    assert train[0].mask.tolist() == [[0, 1, 255, 1]] * 4
    assert check_data(tmp_path).problems == []
    broken = colours[ids].copy()
    broken[2, 3] = (9, 9, 9)
    official.save(label, broken)
    with pytest.raises(FleetsegError, match=r"\(9, 9, 9\) at row 2, column 3"):
        train[0]
    (problem,) = check_data(tmp_path).problems
    assert problem.kind == "label without class ids"
