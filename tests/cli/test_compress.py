"""`fleetseg compress` from a checkpoint to a report."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fleetseg.cli import main
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of


def written(path: Path, dead: int) -> Path:
    """ESPNet-C with so many dead channels of 256 in its last BatchNorm."""
    network = build_network("espnet-c", CAMVID_11.num_classes, alpha2=0, alpha3=1)
    with torch.no_grad():
        network.join3[0].weight[:dead] = 0
    metadata = metadata_for(spec_of(network), path.stem, CAMVID_11.names, CAMVID_11.palette)
    save_checkpoint(path, network, metadata.model_copy(update={"train_size": (64, 48)}))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of its last BatchNorm is dead."""
    return written(tmp_path_factory.mktemp("checkpoint") / "small.safetensors", dead=80)


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


def test_the_model_itself_is_replaced_after_it_was_measured(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(checkpoint.read_bytes())
    words = ["compress", str(model), "--out", str(model), "--no-time", "--json", "--data", "scenes:2"]
    assert main([*words, "--prune", "0.7"]) == 2
    assert "exists already" in capsys.readouterr().err and model.read_bytes() == checkpoint.read_bytes()
    assert main([*words, "--prune", "0.7", "--force"]) == 0
    pruned = json.loads(capsys.readouterr().out)
    assert model.stat().st_size < 0.8 * checkpoint.stat().st_size
    assert main(["evaluate", str(checkpoint), "--data", "scenes:2", "--json", "-"]) == 0
    original = json.loads(capsys.readouterr().out)
    assert pruned["miou"]["before"] == original["miou"] != pruned["miou"]["after"]
    assert pruned["class_iou"]["before"] == original["class_iou"] != pruned["class_iou"]["after"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def own_data(folder: Path, names: tuple[str, ...], label: int) -> Path:
    """One image of a split val, every pixel labelled the same."""
    for kind, pixels in (("images", np.zeros((24, 32, 3), np.uint8)), ("labels", np.full((24, 32), label, np.uint8))):
        (folder / kind / "val").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / kind / "val" / "1.png")
    (folder / "classes.yaml").write_text(f"names: [{', '.join(names)}]\n")
    return folder


@pytest.mark.parametrize(
    ("names", "status", "sentence"),
    [
        (("sand", "sea"), 2, "does not fit data val: "),
        (CAMVID_11.names, 1, "no pixel has a label; a split"),
    ],
)
def test_data_that_measure_nothing_leave_no_file(
    names: tuple[str, ...],
    status: int,
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    own_data(Path("data"), names, 255)
    assert main(["compress", str(checkpoint), "--out", "a.safetensors", "--no-time", "--data", "data"]) == status
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_weights_that_are_no_numbers(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, metadata = load_checkpoint(checkpoint)
    with torch.no_grad():
        network.join2[0].bias[0] = float("nan")
    broken = tmp_path / "broken.safetensors"
    save_checkpoint(broken, network, metadata)
    assert main(["compress", str(broken), "--out", str(tmp_path / "a.safetensors"), "--no-time"]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.safetensors"]


def test_nothing_to_remove_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alive = written(tmp_path / "alive.safetensors", dead=0)
    assert main(["compress", str(alive), "--out", str(tmp_path / "a.safetensors"), "--no-time"]) == 0
    assert "nothing can go without changing the answers; --prune SHARE" in capsys.readouterr().out


def test_without_torch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["compress", str(checkpoint), "--out", str(tmp_path / "a.safetensors")]) == 2
    assert "fleetseg[train]" in capsys.readouterr().err


def picture(folder: Path) -> Path:
    path = folder / "picture.jpg"
    Image.new("RGB", (32, 24)).save(path)
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.pth"], "--out a.pth: a checkpoint ends in .safetensors"),
        (["--out", "there.safetensors"], "--out there.safetensors: exists already; give another name, or --force"),
        (["--out", "a.safetensors", "--prune", "1"], "--prune 1: a share from 0 to 0.9 is needed"),
        (
            ["--out", "folder.safetensors", "--force"],
            "--out folder.safetensors: is a folder; the name of a file",
        ),
        (["--out", "a.safetensors", "--data", "nowhere"], "nowhere"),
        (["--out", "a.safetensors", "--network", "enet"], "--network enet: FILE.py:CLASS is needed"),
    ],
)
def test_wrong_calls(words: list[str], sentence: str, checkpoint: Path, refused: Callable[..., None]) -> None:
    Path("there.safetensors").write_text("kept")
    Path("folder.safetensors").mkdir()
    refused(["compress", str(checkpoint), *words], sentence)
