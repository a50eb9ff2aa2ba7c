"""``fleetseg predict`` on images that windows slide over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fleetseg.cli import main, predict_windows
from fleetseg.image import read_image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (90, 130, 3), dtype=np.uint8)


def test_windows_write_labels_areas_outlines_and_a_picture(
    colour_onnx: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture).save("a.png")
    words = ["predict", str(colour_onnx), "a.png", "--out", "o", "--windows", "--overlay", "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    (result,) = json.loads(shown.out)
    expected = picture.argmax(axis=2)
    assert result.pop("latency_ms") > 0
    assert result.pop("shares")["red"] == pytest.approx((expected == 0).mean(), abs=1e-6)
    assert result == {
        "input": "a.png",
        "labels": "o/a_labels.tif",
        "areas": "o/a_areas.json",
        "outlines": "o/a_outlines.geojson",
        "overlay": "o/a_overlay.png",
        "width": 130,
        "height": 90,
        "network_size": [64, 48],
    }
    np.testing.assert_array_equal(tifffile.imread(result["labels"]), expected)
    assert json.loads(Path(result["areas"]).read_text())["model"] == "colours"
    assert read_image(result["overlay"]).shape[1] >= 130
    assert sorted(path.name for path in Path("o").iterdir()) == [
        "a_areas.json", "a_labels.tif", "a_outlines.geojson", "a_overlay.png",
    ]  # fmt: skip


def test_large_images_and_slides_are_seen_in_windows_unasked(
    colour_onnx: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict_windows, "MOST_PIXELS", 130 * 90 - 1)
    Path("in").mkdir()
    Image.fromarray(picture).save("in/a.png")
    Image.fromarray(picture[1:]).save("in/b.png")
    tifffile.imwrite("in/c.svs", picture, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None)
    Path("in/d.svs").write_text("no slide")
    assert main(["predict", str(colour_onnx), "in", "--out", "o", "--json"]) == 1
    shown = capsys.readouterr()
    results = json.loads(shown.out)
    assert [(Path(result["input"]).name, "labels" in result) for result in results] == [
        ("a.png", True), ("b.png", False), ("c.svs", True),
    ]  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread("o/c_labels.tif"), picture.argmax(axis=2))
    assert "fleetseg: in/d.svs: the slide cannot be read" in shown.err
    assert "in/a.png: is 130×90 pixels large, so 9 windows of 64×48 slide over it; --downsample D" in shown.err
    assert "in/b.png" not in shown.err
    assert shown.err.endswith("fleetseg: 1 of 4 images could not be segmented\n")
    # A size or a confidence asks for the image as a whole.
    for option in (["--size", "32x24"], ["--confidence"]):
        assert main(["predict", str(colour_onnx), "in/a.png", "--out", "w", *option]) == 0
        assert not list(Path("w").glob("*.tif"))


def test_any_option_of_windows_asks_for_them(colour_onnx: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save("a.png")
    for option in (
        ["--window", "64x64"],
        ["--overlap", "0.5"],
        ["--scales", "1,2"],
        ["--flip"],
        ["--downsample", "2"],
        ["--window-batch", "2"],
    ):
        assert main(["predict", str(colour_onnx), "a.png", "--out", "o", *option]) == 0
        assert Path("o/a_labels.tif").exists()
        Path("o/a_labels.tif").unlink()


def test_background_is_neither_seen_nor_counted(colour_onnx: Path) -> None:
    slide = np.full((400, 600, 3), 245, np.uint8)
    slide[:, :200] = np.random.default_rng(2).integers(60, 100, (400, 200, 3))
    slide[:, :200, 0] += 120
    Image.fromarray(slide).save("a.png")
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o", "--skip-background"]) == 0
    labels = tifffile.imread("o/a_labels.tif")
    assert not labels[:, :200].any(), "red"
    assert (labels[:, 205:] == 255).all()
    areas = json.loads(Path("o/a_areas.json").read_text())
    assert areas["unlabelled_pixels"] == (labels == 255).sum()
    assert areas["classes"][0] == {"id": 0, "name": "red", "pixels": int((labels == 0).sum()), "share": 1.0}


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--windows", "--size", "32x24"], 2, "--size: goes with images that are seen whole, not with windows"),
        (["--flip", "--confidence"], 2, "--confidence: goes with images that are seen whole, not with windows"),
        (["--window", "big"], 2, "--window big: WIDTHxHEIGHT in pixels is needed"),
        (["--window", "8x8", "--overlap", "0.5"], 2, "windows of 8 pixels with 0.5 of overlap move on by less than 8"),
        (["--overlap", "1"], 2, "the overlap 1.0 is no part of a window"),
        (["--scales", "0"], 2, "the scales [0.0] cannot be used"),
        (["--downsample", "0.5"], 2, "Input should be greater than or equal to 1"),
        (["--skip-background"], 1, "a.png: no tissue was found; leave --skip-background out"),
    ],
)
def test_wrong_calls_are_one_sentence_and_leave_nothing(
    colour_onnx: Path, options: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (60, 40), (250, 250, 250)).save("a.png")
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o", *options]) == status
    error = capsys.readouterr().err
    assert sentence in error
    assert error.splitlines()[1:] in ([], ["fleetseg: 1 of 1 images could not be segmented"])
    assert not list(Path().glob("o/*"))


def test_options_of_videos_and_windows_do_not_mix(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(colour_onnx), "a.mp4", "--out", "b.mp4", "--windows"]) == 2
    assert "--windows: goes with images, not with a video" in capsys.readouterr().err


def test_an_image_beyond_the_memory_is_told_of_windows(
    colour_onnx: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fleetseg import image as image_module

    Image.fromarray(picture).save("a.png")
    monkeypatch.setattr(image_module, "available_memory", lambda: 1000 * image_module.BYTES_PER_PIXEL)
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o"]) == 1
    assert "make the image smaller, or let windows slide over it: --windows\n" in capsys.readouterr().err


def test_an_unfinished_run_is_taken_up_and_told_of(
    colour_onnx: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = np.tile(picture, (12, 1, 1))
    Image.fromarray(large).save("a.png")
    words = ["predict", str(colour_onnx), "a.png", "--out", "o", "--windows"]

    def interrupted(steps: list[object], what: str) -> object:
        yield steps[0]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict_windows, "track", interrupted)
        assert main(words) == 130
    assert main(words) == 0
    assert "fleetseg: a.png: going on where an earlier run stopped, at 33 %\n" in capsys.readouterr().err
    np.testing.assert_array_equal(tifffile.imread("o/a_labels.tif"), large.argmax(axis=2))
