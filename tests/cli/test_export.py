"""`fleetseg export` and `fleetseg verify` from a checkpoint to figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetseg.cli import main
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_network("espnet-c", CAMVID_11.num_classes, alpha2=1, alpha3=1)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small", CAMVID_11.names, CAMVID_11.palette))
    return path


def test_export_then_verify(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.onnx"
    words = ["export", str(checkpoint), "--format", "onnx", "--size", "40x24", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == {"small.onnx": out.stat().st_size}
    assert report["form"]["size"] == [40, 24]
    assert report["agreement"]["same_classes"] > 0.999
    assert main([*words, "--force"]) == 0
    told = capsys.readouterr().out
    assert f"{out}: 0." in told
    assert "pixels have the network's class" in told
    figures = tmp_path / "figures.json"
    verify = ["verify", str(out), "--data", "scenes:2", "--against", str(checkpoint), "--json", str(figures)]
    assert main(verify) == 0
    assert str(checkpoint) in capsys.readouterr().out
    assert abs(json.loads(figures.read_text())["miou_drop"]) < 1e-3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "onnxx", "--out", "a.onnx"], "There is no format 'onnxx'; did you mean onnx"),
        (["--format", "onnx", "--size", "40", "--out", "a.onnx"], "--size 40: WIDTHxHEIGHT in pixels is needed"),
        (["--format", "onnx", "--head", "class", "--out", "a.onnx"], "There is no head 'class'; did you mean classes"),
        (["--format", "ncnn", "--out", "a.param"], "--size dynamic: a file of ncnn takes images of one size"),
    ],
)
def test_wrong_calls(words: list[str], sentence: str, checkpoint: Path, refused: Callable[..., None]) -> None:
    refused(["export", str(checkpoint), *words], sentence)
