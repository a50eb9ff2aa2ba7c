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
    out.mkdir()
    (out / "worst_01_of_an_earlier_network.png").touch()
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
    assert names[1] == "confusion_matrix_by_prediction.png"
    assert names[2] == "worst_01_1.png"  # the image with the wrong pixel comes first
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
        ({"--metric": "boundery"}, 2, "did you mean boundary"),
        ({"--metric": "category"}, 2, "name them with --categories"),
        ({"--metric": "iiou"}, 2, "iIoU needs classes with Cityscapes' names"),
        ({"--ignore": "purple"}, 2, "There is no class 'purple'"),
        ({"--map": "cityscapes"}, 2, "cityscapes does not say what becomes of"),
        ({"--map": "none.yaml"}, 2, "fleetseg: none.yaml: there is no such file"),
        ({"--categories": "cityscapes-categories"}, 2, "to which category the class 'red' belongs"),
        ({"--resize": "quarter"}, 2, "--resize quarter: none, half, a factor"),
        ({"--resize": "9"}, 2, "a factor is above 0 and at most 8"),
        ({"--resize": "half", "--size": "8x8"}, 2, "--size 8x8 and --resize half both say"),
        ({"--score-at": "half"}, 2, "size to --score-at 'half'"),
        ({"--scales": "1,big"}, 2, "--scales big: numbers with commas"),
        ({"--scales": "0"}, 2, "numbers above 0"),
        ({"--window": "12"}, 2, "--window 12: WIDTHxHEIGHT"),
        ({"--overlap": "1"}, 2, "the overlap 1.0 is no part of a window"),
        ({"--against": "nobody"}, 2, "packaged model 'nobody'"),
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


def test_a_split_without_labels_is_said_to_be_one(
    colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (colours / "labels" / "val").iterdir():
        Image.fromarray(np.full((16, 20), 255, np.uint8)).save(path)
    assert main(["evaluate", str(colour_onnx), "--data", str(colours)]) == 1
    assert "no pixel has a label that is scored" in capsys.readouterr().err


def test_every_metric_is_printed_and_written(
    colours: Path, colour_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "groups.yaml").write_text("warm: [red]\ncold: [green, blue]\n")
    report = tmp_path / "report.json"
    words = ["--metric", "all", "--categories", str(tmp_path / "groups.yaml"), "--json", str(report)]
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), *words]) == 0
    printed = capsys.readouterr().out
    for heading in ("precision", "boundary F1", "cold", "bootstrap interval", "near borders", "calibration error"):
        assert heading in printed
    figures = json.loads(report.read_text())
    assert figures["miou_interval"]["low"] <= figures["miou"] <= figures["miou_interval"]["high"]
    assert len(figures["per_image"]) == 3 and figures["category_iou"]["each"]["warm"] > 99
    assert set(figures) >= {"boundary_f1", "trimap_miou", "calibration", "class_precision"}


def test_groups_take_the_place_of_classes(
    colours: Path, colour_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "groups.yaml").write_text("cold: [green, blue]\nignored: [red]\n")
    words = ["--map", str(tmp_path / "groups.yaml"), "--json", "-"]
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), *words]) == 0
    assert list(json.loads(capsys.readouterr().out)["class_iou"]) == ["cold"]


def test_an_ignored_class_is_not_scored(colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(colour_onnx), "--data", str(colours), "--ignore", "red", "--json", "-"]) == 0
    assert list(json.loads(capsys.readouterr().out)["class_iou"]) == ["green", "blue"]


def test_two_models_are_compared(colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(colour_onnx), "--data", str(colours), "--against", str(colour_onnx)]
    assert main(words) == 0
    assert "mIoU +0.00, 95% interval +0.00 to +0.00, p = 1.0000 (paired over 3 images)" in capsys.readouterr().out
    assert main([*words, "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["comparison"]["p_value"] == 1 and figures["against"]["miou"] == figures["miou"]


def test_views_of_a_network_of_single_pixels_change_nothing(
    colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for options in ([], ["--flip"], ["--window", "8x8"], ["--scales", "1", "--flip", "--window", "12x8"]):
        assert main(["evaluate", str(colour_onnx), "--data", str(colours), "--json", "-", *options]) == 0
        results.append(json.loads(capsys.readouterr().out)["confusion_matrix"])
    assert all(result == results[0] for result in results)


def test_scoring_at_the_size_that_the_network_sees(
    colours: Path, colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sums = {}
    for place in ("full", "network"):
        words = ["--resize", "half", "--score-at", place, "--json", "-"]
        assert main(["evaluate", str(colour_onnx), "--data", str(colours), *words]) == 0
        sums[place] = np.array(json.loads(capsys.readouterr().out)["confusion_matrix"]).sum()
    assert sums["full"] == 3 * 16 * 20 - 20
    assert sums["network"] in (3 * 8 * 10, 3 * 8 * 10 - 10)
