"""Networks on data with other classes, through ``--map`` (ESPNet's Tables 1a and 5)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.data.label_tables import rows
from fleetseg.evaluation.grouping import read_grouping
from fleetseg.labels import CITYSCAPES_19


@pytest.fixture
def mapillary(tmp_path: Path) -> Path:
    """One validation image of release 1.2: road above, a car, bicyclist, bird and mountain below."""
    root = tmp_path / "mapillary"
    table = rows("mapillary_v1.2")
    labels = [
        {"name": row["name"], "readable": row["name"], "color": [9, 9, position], "instances": False, "evaluate": True}
        for position, row in enumerate(table)
    ]
    images, masks = root / "validation" / "images", root / "validation" / "v1.2" / "labels"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    (root / "config_v1.2.json").write_text(json.dumps({"labels": labels, "version": "1.2"}))
    ids = {row["name"]: position for position, row in enumerate(table)}
    mask = np.full((8, 8), ids["construction--flat--road"], np.uint8)
    mask[4:6, :4], mask[4:6, 4:] = ids["object--vehicle--car"], ids["human--rider--bicyclist"]
    mask[6:, :4], mask[6:, 4:] = ids["animal--bird"], ids["nature--mountain"]
    file = Image.fromarray(mask)
    file.putpalette(list(range(256)) * 3)
    file.save(masks / "one.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(images / "one.jpg")
    return root


def test_cityscapes_categories_of_mapillary(
    mapillary: Path, road_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(road_onnx), "--data", str(mapillary), "--map"]
    assert main([*words, "cityscapes-categories", "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    # 32 pixels of road are found; 8 of car and 8 of rider are taken for it; bird and mountain are not scored.
    assert figures["class_iou"]["flat"] == pytest.approx(100 * 32 / 48, abs=1e-3)
    assert (figures["class_iou"]["vehicle"], figures["class_iou"]["human"]) == (0, 0)
    assert figures["absent_classes"] == ["construction", "object", "nature", "sky"]
    assert main([*words, "camvid", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["class_iou"]["Road"] == pytest.approx(100 * 32 / 48, abs=1e-3)


def test_without_a_map_the_classes_do_not_fit(
    mapillary: Path, road_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(road_onnx), "--data", str(mapillary)]) == 2
    assert "does not fit" in capsys.readouterr().err


def test_a_cityscapes_network_on_camvids_classes(road_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(road_onnx), "--data", "scenes:1", "--map", "camvid", "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["class_accuracy"]["Road"] == 100 and figures["class_iou"]["Sky"] == 0


@pytest.mark.shared
def test_camvid_meets_cityscapes_as_the_shared_table_says(shared_folder: Path) -> None:
    table = list(csv.DictReader((shared_folder / "label_maps" / "camvid11_to_cityscapes.csv").open()))
    members = read_grouping("camvid").groups
    assert set(members) == {row["class_name"] for row in table} - {"Unlabelled"}
    for row in table[:-1]:
        wanted = {name.strip() for name in row["cityscapes_names"].split(";") if name.strip()}
        assert wanted == set(members[row["class_name"]]) & set(CITYSCAPES_19.names)
