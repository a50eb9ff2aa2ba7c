"""``fleetseg predict`` on real files, with a network whose class is a pixel's largest channel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fleetseg import image as image_module
from fleetseg.cli import main
from fleetseg.image import read_image

Picture = npt.NDArray[np.uint8]
PALETTE = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def thirds(width: int = 48, height: int = 36) -> Picture:
    """A red, a green and a blue upright stripe."""
    picture = np.zeros((height, width, 3), np.uint8)
    for channel in range(3):
        picture[:, channel * width // 3 : (channel + 1) * width // 3, channel] = 220
    return picture


def save(name: str, picture: Picture, **options: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def ids(path: str) -> Picture:
    with Image.open(path) as file:
        assert file.mode == "P"
        return np.asarray(file)


def test_mask_at_the_images_own_size_with_palette(
    colour_onnx: Path, noise: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", noise)
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o", "--size", "native"]) == 0
    np.testing.assert_array_equal(ids("o/a.png"), noise.argmax(axis=2))
    np.testing.assert_array_equal(read_image("o/a.png"), PALETTE[noise.argmax(axis=2)])
    assert [path.name for path in Path("o").iterdir()] == ["a.png"]
    shown = capsys.readouterr()
    assert shown.err == ""
    share = 100 * (noise.argmax(axis=2) == 1).mean()
    green = next(line for line in shown.out.splitlines() if "green" in line)
    assert f"{share:.2f} %" in green
    assert shown.out.splitlines()[-1].startswith("1 image, ")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.webp", "a.bmp", "a.gif"])
def test_every_format(colour_onnx: Path, name: str) -> None:
    save(name, thirds())
    assert main(["predict", str(colour_onnx), name, "--out", "o", "--size", "native"]) == 0
    agreement = (ids("o/a.png") == thirds().argmax(axis=2)).mean()
    assert agreement > 0.9, "JPEG and WebP blur the borders, nothing more"


def test_exif_orientation_turns_the_mask_upright(colour_onnx: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save("a.jpg", np.ascontiguousarray(np.rot90(thirds())), exif=exif, quality=95)
    assert main(["predict", str(colour_onnx), "a.jpg", "--out", "o", "--size", "native"]) == 0
    assert (ids("o/a.png") == thirds().argmax(axis=2)).mean() > 0.9


def test_sixteen_bit_grey_and_one_pixel(colour_onnx: Path) -> None:
    save("grey.png", np.full((5, 9), 40_000, np.uint16))
    save("dot.png", np.array([[[1, 2, 3]]], np.uint8))
    assert main(["predict", str(colour_onnx), "grey.png", "dot.png", "--out", "o"]) == 0
    assert ids("o/grey.png").tolist() == np.zeros((5, 9)).tolist(), "equal channels: the first class"
    assert ids("o/dot.png").tolist() == [[2]]


def test_json_overlay_and_confidence(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/sub/a.png", thirds(32, 24))
    words = [
        "predict",
        str(colour_onnx),
        "in",
        "--out",
        "o",
        "--json",
        "--overlay",
        "--confidence",
        "--threads",
        "1",
    ]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == "", "the image has the training size, so there is nothing to say"
    (result,) = json.loads(shown.out)
    assert result.pop("latency_ms") > 0
    assert result.pop("shares") == pytest.approx({"red": 10 / 32, "green": 11 / 32, "blue": 11 / 32}, abs=1e-6)
    assert result == {
        "input": "in/sub/a.png",
        "mask": "o/sub/a.png",
        "overlay": "o/sub/a_overlay.png",
        "confidence": "o/sub/a_confidence.png",
        "width": 32,
        "height": 24,
        "network_size": [32, 24],
    }
    overlay = read_image(result["overlay"])
    assert overlay[0, 0].tolist() == [210, 0, 0], "half the image's 220, half the palette's 200"
    assert overlay.shape[0] > 24, "the legend stands below"
    with Image.open(result["confidence"]) as file:
        assert (file.mode, file.size) == ("L", (32, 24))
        assert np.asarray(file).min() == 255, "220 against 0 is certain"


def test_default_size_follows_the_training_size_and_says_so(
    colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds(320, 240))
    save("b.png", thirds(160, 120))
    assert main(["predict", str(colour_onnx), "a.png", "b.png", "--out", "o", "--json"]) == 0
    shown = capsys.readouterr()
    results = json.loads(shown.out)
    assert [result["network_size"] for result in results] == [[32, 24], [32, 24]]
    assert [(result["width"], result["height"]) for result in results] == [(320, 240), (160, 120)]
    assert shown.err == (
        "fleetseg: the network sees images scaled to about the 32×24 pixels it was trained on "
        "(320×240 to 32×24); --size native keeps their own size\n"
    )
    assert ids("o/a.png").shape == (240, 320)
    assert (ids("o/a.png") == thirds(320, 240).argmax(axis=2)).mean() > 0.95


def test_of_large_images_it_says_how_to_keep_their_scale(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", thirds(16 * 32, 16 * 24))
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o"]) == 0
    assert capsys.readouterr().err.endswith("(512×384 to 32×24); --windows keeps their own scale, part by part\n")


@pytest.mark.parametrize(("size", "seen"), [("native", [320, 240]), ("100x50", [100, 50])])
def test_size_option(colour_onnx: Path, size: str, seen: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", thirds(320, 240))
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o", "--json", "--size", size]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["network_size"] == seen
    assert shown.err == ""
    assert ids("o/a.png").shape == (240, 320)


def test_table_over_several_images(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", thirds(48, 36))
    red = np.zeros((36, 48, 3), np.uint8)
    red[..., 0] = 255
    save("in/b.png", red)
    assert main(["predict", str(colour_onnx), "in", "--out", "o"]) == 0
    lines = capsys.readouterr().out.splitlines()
    green = next(line for line in lines if "green" in line).replace("│", " ").split()
    assert green == ["■", "green", "16.67", "%", "0.00", "%", "33.33", "%", "1"]
    assert lines[-1].startswith("2 images, median ")


def test_broken_image_is_named_and_the_others_finish(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.jpg", thirds())
    save("in/c.png", thirds())
    content = Path("in/a.jpg").read_bytes()
    Path("in/b.jpg").write_bytes(content[: len(content) // 2])
    Path("in/d.png").write_bytes(b"no image")
    assert main(["predict", str(colour_onnx), "in", "--out", "o", "--json", "--size", "native"]) == 1
    shown = capsys.readouterr()
    assert [result["input"] for result in json.loads(shown.out)] == ["in/a.jpg", "in/c.png"]
    assert sorted(path.name for path in Path("o").iterdir()) == ["a.png", "c.png"]
    first, second, last = shown.err.splitlines()
    assert first.startswith("fleetseg: in/b.jpg: is broken")
    assert second.startswith("fleetseg: in/d.png: is broken or no PNG")
    assert last == "fleetseg: 2 of 4 images could not be segmented"


def test_memory_that_runs_out_at_one_image(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds())
    save("b.png", thirds())

    def blend(image: Picture, *_: object) -> Picture:
        if Path("o/b.png").exists():
            raise MemoryError
        return image

    monkeypatch.setattr(image_module, "overlay", blend)
    assert main(["predict", str(colour_onnx), "a.png", "b.png", "--out", "o", "--overlay"]) == 1
    assert "fleetseg: b.png: needs more memory than is free\n" in capsys.readouterr().err
    assert Path("o/a_overlay.png").exists()


def test_only_broken_images(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").touch()
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fleetseg: a.png: is empty\n")


def test_image_too_large_for_the_memory(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds())
    monkeypatch.setattr(image_module, "available_memory", lambda: 1000 * image_module.BYTES_PER_PIXEL)
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o"]) == 1
    assert "a.png: 48×36 is 1,728 pixels, but the free memory allows 1,000" in capsys.readouterr().err


def test_network_size_too_large_for_the_memory_names_the_image(
    colour_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds())
    assert main(["predict", str(colour_onnx), "a.png", "--out", "o", "--size", "1x1"]) == 0
    from fleetseg.runtime import model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "available_memory", lambda: 0)
        assert main(["predict", str(colour_onnx), "a.png", "--out", "o"]) == 1
    assert "fleetseg: a.png: 32×24 is 768 pixels, but the free memory lets the network see 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["MODEL", "nowhere.png", "--out", "o"], "nowhere.png: no such file or folder"),
        (["MODEL", "empty", "--out", "o"], "empty: there are no images in this folder"),
        (["MODEL", "*.nothing", "--out", "o"], "*.nothing: no file matches this pattern"),
        (["MODEL", "a.png", "--out", "o", "--size", "big"], "--size big: WIDTHxHEIGHT in pixels is needed"),
        (["MODEL", "a.png", "--out", "o", "--engine", "gpu"], "There is no engine 'gpu'"),
        (
            ["MODEL", "a.png", "--out", "o", "--engine", "torch"],
            "runs on engine 'onnxruntime' or 'openvino' or 'opencv', not on 'torch'",
        ),
        (["MODEL", "a.png", "--out", "."], "--out .: would replace the input a.png"),
        (["nowhere.onnx", "a.png", "--out", "o"], "nowhere.onnx: no such model file"),
        (["enet-canvid", "a.png", "--out", "o"], "There is no packaged model 'enet-canvid'"),
    ],
)
def test_wrong_calls_write_nothing(
    colour_onnx: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds())
    Path("empty").mkdir()
    assert main(["predict", *(str(colour_onnx) if word == "MODEL" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("o").exists()


def test_output_that_cannot_be_written(colour_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", thirds())
    Path("file").touch()
    assert main(["predict", str(colour_onnx), "a.png", "--out", "file/o"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fleetseg: file/o")
    assert "cannot be written" in error
    assert error.count("\n") == 1


#: The command line, under a limit for the size of files: the kernel refuses to write as it does on a full disk.
LIMITED = """
import resource, sys
from fleetseg.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(colour_onnx: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    save("a.png", picture)
    call = ["predict", str(colour_onnx), "a.png", "--out", "o", "--size", "native", "--overlay", "--threads", "1"]
    for limit, left in ((10_000, []), (100_000, ["a.png"])):
        words = [sys.executable, "-c", LIMITED, str(limit), *call]
        failed = subprocess.run(words, capture_output=True, text=True, timeout=100)
        assert failed.returncode == 1
        assert re.fullmatch(r"fleetseg: o/a(_overlay)?\.png: cannot be written \(.+\)\n", failed.stderr)
        assert [path.name for path in Path("o").iterdir()] == left, "the mask fits, its overlay does not"
    assert (ids("o/a.png") == picture.argmax(axis=2)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_every_mode_of_pixels(colour_onnx: Path, mode: str) -> None:
    """What `read_image` makes of each is tested beside it; here, that a mask comes out of it."""
    file = Image.fromarray(thirds())
    file = Image.fromarray(np.full((36, 48), 40_000, np.uint16)) if mode == "I;16" else file.convert(mode)
    file.save("a.tif" if mode in ("CMYK", "YCbCr", "LA", "PA") else "a.png")
    name = "a.tif" if Path("a.tif").exists() else "a.png"
    assert main(["predict", str(colour_onnx), name, "--out", "o", "--size", "native"]) == 0
    assert (ids("o/a.png") == read_image(name).argmax(axis=2)).all()


def test_model_that_is_no_fleetseg_onnx(
    write_colour_onnx: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", thirds())
    assert main(["predict", str(write_colour_onnx(metadata=None)), "a.png", "--out", "o"]) == 1
    assert "has no fleetseg metadata" in capsys.readouterr().err
    assert not Path("o").exists()


def test_running_again_replaces_the_results(colour_onnx: Path, noise: Picture) -> None:
    save("a.png", thirds(37, 21))
    words = ["predict", str(colour_onnx), "a.png", "--out", "o", "--size", "native"]
    assert main(words) == 0
    save("a.png", noise)
    assert main(words) == 0
    np.testing.assert_array_equal(ids("o/a.png"), noise.argmax(axis=2))
    assert len(list(Path("o").iterdir())) == 1
