"""`fleetseg compile` from a checkpoint to masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fleetseg
from fleetseg.cli import main
from fleetseg.errors import CheckpointError
from fleetseg.image import read_image, write_png
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.runtime.native_engine import DESCRIPTION_KEY, DESCRIPTION_VERSION


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network = build_network("espnet-c", 3, alpha2=1, alpha3=1)
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small-3", ["road", "car", "sky"]))
    return path


def test_compile_predict_and_json(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compiled"
    words = [
        "compile",
        str(checkpoint),
        "--size",
        "40x24",
        "--out",
        str(out),
        "--dump",
        str(tmp_path / "dump"),
        "--json",
    ]
    assert main(words) == 0
    description = json.loads(capsys.readouterr().out)
    assert (description["width"], description["height"], description["precision"]) == (40, 24, "fp32")
    assert description["metadata"]["classes"] == ["road", "car", "sky"]
    assert {path.name for path in out.iterdir()} == {"small_3.c", "small_3.h", "small_3.so", "small_3.json"}
    assert "conv2d" in (tmp_path / "dump" / "00-captured.txt").read_text()
    assert "arena" in (tmp_path / "dump" / "schedule.txt").read_text()
    write_png(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    assert main(["predict", str(out), str(tmp_path / "photo.png"), "--out", str(tmp_path / "masks"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)[0]
    assert (result["width"], result["network_size"]) == (50, [40, 24])
    assert read_image(tmp_path / "masks" / "photo.png").shape[:2] == (30, 50)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size", "40"], "--size 40: WIDTHxHEIGHT in pixels is needed"),
        (["--size", "40x24", "--target", "pentium"], "There is no target 'pentium'"),
        (["--size", "40x24", "--precision", "fp64"], "There is no precision 'fp64'"),
    ],
)
def test_wrong_calls(
    checkpoint: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(checkpoint), *words, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_onnx_file_cannot_be_compiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").touch()
    assert main(["compile", str(tmp_path / "model.onnx"), "--size", "8x8", "--out", str(tmp_path / "out")]) == 2
    assert "a checkpoint (.safetensors or .pth) is needed to compile, export" in capsys.readouterr().err


def test_a_size_beyond_all_memory(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["compile"], ["export", "--format", "c"]):
        words = [command[0], str(checkpoint), "--size", "200000x200000", "--out", str(tmp_path / "out"), *command[1:]]
        assert main(words) == 1
        assert "200000×200000 is 40,000,000,000 pixels, but the free memory lets the network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fleetseg.compiler.capture.capture", lambda *_: pytest.fail("worked before it looked"))
    words = ["compile", str(checkpoint), "--size", "16x8", "--out", str(checkpoint)]
    assert main(words) == 1
    assert "small.safetensors is a file, a folder is needed" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "out"), "--dump", str(checkpoint)]) == 1
    assert "small.safetensors is a file, a folder is needed" in capsys.readouterr().err


def test_a_compiler_that_fails_leaves_what_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = tmp_path / "cc"
    failing.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "cc 1"; else echo "error: disk on fire"; exit 1; fi\n'
    )
    failing.chmod(0o755)
    monkeypatch.setenv("CC", str(failing))
    out = tmp_path / "out"
    out.mkdir()
    (out / "small_3.h").write_text("of an older network")
    assert main(["compile", str(checkpoint), "--size", "16x8", "--out", str(out)]) == 1
    assert "failed" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("small_3.h", "of an older network")]


def test_one_folder_means_one_network(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["compile", str(checkpoint), "--size", "16x8", "--out", str(out)]
    assert main(words) == 0
    assert main(words) == 0, "the same network again"
    other = tmp_path / "other.safetensors"
    network, metadata = load_checkpoint(checkpoint)
    save_checkpoint(other, network, metadata.model_copy(update={"name": "other"}))
    capsys.readouterr()
    assert main(["compile", str(other), *words[2:]]) == 2
    assert "out: holds the compiled network small_3 already; choose another folder" in capsys.readouterr().err
    description = json.loads((out / "small_3.json").read_text())
    (out / "small_3.json").write_text(json.dumps(description | {"threads": "many"}))
    write_png(tmp_path / "photo.png", np.zeros((8, 16, 3), np.uint8))
    capsys.readouterr()
    assert main(["predict", str(out), str(tmp_path / "photo.png"), "--out", str(tmp_path / "masks")]) == 1
    assert "small_3.json: is damaged" in capsys.readouterr().err


def test_several_compiled_networks_in_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({DESCRIPTION_KEY: DESCRIPTION_VERSION}))
    with pytest.raises(CheckpointError, match=r"holds several compiled networks \(a, b\); a folder with one is needed"):
        fleetseg.load(tmp_path)


def test_a_runs_folder_stays_one(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    checkpoint.rename(tmp_path / "run" / "best.safetensors")
    assert main(["compile", str(tmp_path / "run"), "--size", "16x8", "--out", str(tmp_path / "run")]) == 2
    assert "run: is the folder of a training run; choose another one" in capsys.readouterr().err
