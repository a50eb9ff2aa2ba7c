"""`fleetseg adjust` from a checkpoint to a better one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetseg.cli import main
from fleetseg.labels import CAMVID_11, label_set
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of


def written(path: Path, names: tuple[str, ...]) -> Path:
    """A tiny ESPNet-C with random weights."""
    network = build_network("espnet-c", len(names), alpha2=0, alpha3=0)
    labels = label_set(names, None)
    save_checkpoint(path, network, metadata_for(spec_of(network), path.stem, labels.names, labels.palette))
    return path


def test_from_a_checkpoint_to_a_better_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = written(tmp_path / "small.safetensors", CAMVID_11.names), tmp_path / "better.safetensors"
    words = ["adjust", str(source), "--data", "scenes:2", "--out", str(out), "--size", "240x176"]
    assert main([*words, "--check", "val", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["shifts"]) == set(CAMVID_11.names)
    assert report["miou_after"] > report["miou_before"] and report["check"]["split"] == "val"
    assert main(["evaluate", str(out), "--data", "scenes:1", "--size", "240x176"]) == 0
    capsys.readouterr()
    in_place = ["adjust", str(source), "--data", "scenes:2", "--out", str(source), "--size", "240x176", "--force"]
    assert main([*in_place, "--check", "val", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["check"] == report["check"], "what it replaces is measured before"
    assert main([*words, "--force"]) == 0
    told = capsys.readouterr().out
    assert "Bicyclist" in told and "pixels of train: " in told and f"written: {out}" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.onnx"], "--out a.onnx: a checkpoint ends in .safetensors"),
        (["--out", "there.safetensors"], "--out there.safetensors: exists already; give another name, or --force"),
        (["--out", "a.safetensors", "--check", "train"], "--check train: is the split that the constants are sought"),
        (["--out", "new/a.safetensors", "--check", "nope"], "the built-in scenes have no split 'nope'"),
        (["--out", "a.safetensors", "--size", "wide"], "--size wide: WIDTHxHEIGHT in pixels is needed"),
        (["--out", "a.safetensors"], "the network predicts the class 'grass', which the data set does not have"),
    ],
)
def test_wrong_calls(words: list[str], sentence: str, refused: Callable[..., None]) -> None:
    written(Path("other.safetensors"), ("grass", "sky"))
    Path("there.safetensors").write_text("kept")
    refused(["adjust", "other.safetensors", "--data", "scenes:1", *words], sentence)
