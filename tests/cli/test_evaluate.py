from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main

WriteOnnx = Callable[..., Path]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder whose labels are the largest colour channel, which the colour network finds, but for one pixel."""
    root = tmp_path / "colours"
    rng = np.random.default_rng(3)
    for kind in ("images", "labels"):
        (root / kind / "val").mkdir(parents=True)
    for index in range(3):
        image = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        mask = image.argmax(axis=2).astype(np.uint8)
        if index == 1:
            mask[0, 0] = (mask[0, 0] + 1) % 3
            mask[5, :] = 255
        Image.fromarray(image).save(root / "images" / "val" / f"{index}.png")
        Image.fromarray(mask).save(root / "labels" / "val" / f"{index}.png")
    (root / "classes.yaml").write_text("names: [red, green, blue]\n")
    return root


def test_table_json_and_pictures(
    colours: Path, colour_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "new" / "report.json", tmp_path / "pictures"
    status = main(["evaluate", str(colour_onnx), "--data", str(colours), "--json", str(report), "--out", str(out)])
    printed = capsys.readouterr().out
    assert status == 0
    figures = json.loads(report.read_text())
    labelled = 3 * 16 * 20 - 20
    assert np.array(figures["confusion_matrix"]).sum() == labelled
    assert figures["global_accuracy"] == pytest.approx(100 * (labelled - 1) / labelled, abs=1e-3)
    assert 98 < figures["miou"] < 100
    assert figures["images"] == 3 and figures["engine"] == "onnxruntime"
    assert f"mIoU {figures['miou']:.2f}" in printed and "green" in printed
    names = sorted(path.name for path in out.iterdir())
    assert names[0] == "confusion_matrix.png"
    assert names[1] == "worst_01_1.png"  # the image with the wrong pixel comes first
    for name in names:
        assert np.array(Image.open(out / name)).std() > 0


def test_json_to_stdout_is_nothing_but_json(
    colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["class_iou"]) == {"red", "green", "blue"}


def test_counting_unlabelled_pixels_lowers_the_score(
    colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for options in ([], ["--count-unlabelled"]):
        main(["evaluate", str(colour_onnx), "--data", str(colours), "--json", "-", *options])
        results.append(json.loads(capsys.readouterr().out)["miou"])
    assert results[1] < results[0]


def test_any_list_file_names_a_split(colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (colours / "night.txt").write_text("images/val/2.png labels/val/2.png\n")
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), "--split", "night", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"--data": "nowhere"}, 2, "nowhere"),
        ({"--split": "vla"}, 2, "vla"),
        ({"--size": "480"}, 2, "--size 480: WIDTHxHEIGHT"),
        ({"--data": "scenes:2"}, 2, "the class 'red', which the data set does not have"),
        ({"--json": "/proc/no/report.json"}, 1, "cannot be written"),
        ({"--engine": "tensorflow"}, 2, "tensorflow"),
    ],
)
def test_wrong_calls_are_one_sentence(
    colours: Path,
    colour_onnx: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    options = {"--data": str(colours), "--split": "val", **change}
    assert main(["evaluate", str(colour_onnx), *(word for pair in options.items() for word in pair)]) == status
    complaint = capsys.readouterr().err.strip()
    assert sentence in complaint and "Traceback" not in complaint
    assert len(complaint.splitlines()) == 1


def test_a_broken_label_names_its_file(
    colours: Path, colour_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (colours / "labels" / "val" / "1.png").write_bytes(b"\x89PNG broken")
    report = tmp_path / "report.json"
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), "--json", str(report)]) == 1
    assert "labels/val/1.png" in capsys.readouterr().err
    assert not report.exists()


def test_a_network_at_one_eighth_is_measured_at_full_size(
    colours: Path, write_colour_onnx: WriteOnnx, capsys: pytest.CaptureFixture[str]
) -> None:
    coarse = write_colour_onnx("coarse.onnx", stride=8)
    assert main(["evaluate", str(coarse), "--data", str(colours), "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert np.array(figures["confusion_matrix"]).sum() == 3 * 16 * 20 - 20
