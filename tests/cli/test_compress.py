"""`fleetseg compress` from a checkpoint to a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fleetseg.cli import main
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ESPNet-C with a third of its last BatchNorm dead."""
    network = build_network("espnet-c", CAMVID_11.num_classes, alpha2=0, alpha3=1)
    with torch.no_grad():
        network.join3[0].weight[:80] = 0
    metadata = metadata_for(spec_of(network), "small", CAMVID_11.names, CAMVID_11.palette)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, metadata.model_copy(update={"train_size": (64, 48)}))
    return path


def test_dead_channels_then_pruning(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "alive.safetensors"
    words = ["compress", str(checkpoint), "--out", str(out)]
    assert main([*words, "--json", "--data", "scenes:1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["after"]["parameters"] < report["before"]["parameters"]
    assert report["after"]["macs"] < report["before"]["macs"]
    assert report["after"]["file_bytes"] <= out.stat().st_size
    assert report["removal"]["dead"] == 80 and report["removal"]["reads"] == {"join3.0": 176}
    assert report["same_classes"] == 1.0 and report["size"] == [64, 48]
    assert report["miou"]["before"] == report["miou"]["after"]
    assert min(report["latency_ms"]["before"], report["latency_ms"]["after"]) > 0
    metadata = load_checkpoint(out)[1]
    assert metadata.name == "alive" and metadata.provenance["compressed_from"] == "small"
    assert main([*words, "--prune", "0.5", "--force", "--no-time"]) == 0
    told = capsys.readouterr().out
    assert f"{out}: 0." in told and "BatchNorm channels (80 dead): " in told and "ONNX Runtime" not in told
    assert main(["predict", str(out), "--out", str(tmp_path), str(picture(tmp_path))]) == 0


def picture(folder: Path) -> Path:
    from PIL import Image

    path = folder / "picture.jpg"
    Image.new("RGB", (32, 24)).save(path)
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.pth"], "--out a.pth: a checkpoint ends in .safetensors"),
        (["--out", "there.safetensors"], "--out there.safetensors: exists already; give another name, or --force"),
        (["--out", "a.safetensors", "--prune", "1"], "--prune 1: a share from 0 to 0.9 is needed"),
        (["--out", "a.safetensors", "--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_calls(
    words: list[str],
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").write_text("kept")
    assert main(["compress", str(checkpoint), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.safetensors"]
    assert Path("there.safetensors").read_text() == "kept"
