from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two frames of val with labels and instances, and one of test."""
    root = tmp_path / "cityscapes"
    rng = np.random.default_rng(0)
    for split, city, count in (("val", "ulm", 2), ("test", "bonn", 1)):
        for number in range(count):
            stem = f"{city}_{number:06d}_000019"
            images, labels = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
            images.mkdir(parents=True, exist_ok=True)
            labels.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            ids = np.full((16, 24), 7, np.uint16)
            ids[4:8, 4:12] = 26
            instances = np.where(ids == 26, 26001, ids).astype(np.uint16)
            Image.fromarray(image).save(images / f"{stem}_leftImg8bit.png")
            Image.fromarray(ids.astype(np.uint8)).save(labels / f"{stem}_gtFine_labelIds.png")
            Image.fromarray(instances).save(labels / f"{stem}_gtFine_instanceIds.png")
    return root


def test_write_check_and_score(
    cityscapes: Path, road_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, data = tmp_path / "out" / "val.zip", ["--data", str(cityscapes), "--split", "val"]
    form = ["--format", "cityscapes"]
    assert main(["submission", "write", str(road_onnx), *form, *data, "--out", str(archive)]) == 0
    assert "2 predictions, checked" in capsys.readouterr().out
    assert main(["submission", "check", str(archive), *form, *data]) == 0
    assert "names, sizes and values are right" in capsys.readouterr().out
    assert main(["submission", "score", str(archive), *data, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    road, all_pixels = 16 * 24 - 32, 16 * 24
    assert figures["class_iou"]["each"]["road"] == pytest.approx(100 * road / all_pixels, abs=1e-3)
    assert figures["class_iou"]["each"]["car"] == 0 and figures["class_iou"]["each"]["bus"] is None
    assert figures["class_iiou"]["each"]["car"] == 0
    assert main(["submission", "score", str(archive), *data]) == 0
    printed = capsys.readouterr().out
    assert "category" in printed and "iIoU" in printed


def test_the_test_split_is_the_default(
    cityscapes: Path, road_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "test.zip"
    words = ["--format", "cityscapes", "--data", str(cityscapes)]
    assert main(["submission", "write", str(road_onnx), *words, "--out", str(archive), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"archive": str(archive), "files": 1}
    assert main(["submission", "check", str(archive), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["right"] is True


def test_evaluating_by_category_and_instance(
    cityscapes: Path, road_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(road_onnx), "--data", str(cityscapes), "--metric", "all", "--json", "-"]
    assert main(words) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["category_iou"]["each"]["vehicle"] == 0 and figures["class_iiou"]["each"]["car"] == 0
    assert main([*words[:-2], "--map", "cityscapes-categories"]) == 0
    assert "construction" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["write", "NETWORK", "--format", "kitti", "--data", "DATA", "--out", "a.zip"], 2, "submission format 'kitti'"),
        (["write", "NETWORK", "--format", "cityscapes", "--data", "DATA", "--out", "a.tar"], 2, "ends in .zip"),
        (["write", "NETWORK", "--format", "voc", "--data", "DATA", "--out", "a.zip"], 2, "does not fit voc"),
        (["write", "NETWORK", "--format", "cityscapes", "--data", "scenes:1", "--out", "a.zip"], 1, "its own images"),
        (["check", "nowhere.zip", "--format", "cityscapes", "--data", "DATA"], 2, "no such folder or zip"),
        (["score", "nowhere.zip", "--data", "scenes:1"], 2, "is not Cityscapes"),
        (["score", "EMPTY", "--data", "DATA", "--split", "val"], 1, "0 of 2 predictions are there"),
    ],
)
def test_wrong_calls_are_one_sentence(
    cityscapes: Path,
    road_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    stand_ins = {"NETWORK": str(road_onnx), "DATA": str(cityscapes), "EMPTY": str(tmp_path / "empty")}
    assert main(["submission", *(stand_ins.get(word, word) for word in words)]) == status
    complaint = capsys.readouterr().err.strip()
    assert sentence in complaint and len(complaint.splitlines()) == 1
    assert not (tmp_path / "a.zip").exists()
