"""`fleetseg export --precision int8` from a checkpoint to a file and its report; and every way to go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.runtime import load

Build = Callable[..., Any]


@pytest.fixture(scope="module")
def checkpoint(random_network: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = random_network("espnet-c", 11, seed=4, alpha2=1, alpha3=1)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small", CAMVID_11.names, CAMVID_11.palette))
    return path


def words(checkpoint: Path, out: Path, *more: str, form: str = "onnx", size: str = "64x48") -> list[str]:
    return [
        *("export", str(checkpoint), "--format", form, "--size", size, "--precision", "int8"),
        *("--data", "scenes:3", "--calibration", "3", "--threads", "1", "--out", str(out), *more),
    ]


def check_report(figures: dict[str, Any], out: Path) -> None:
    assert set(figures["precisions"]) == {"fp32", "fp16", "int8"}
    fp32, int8 = figures["precisions"]["fp32"], figures["precisions"]["int8"]
    # OpenVINO has no integer kernel for some of the narrowest layers.
    assert fp32["int8_share_of_macs"] == 0 and int8["int8_share_of_macs"] >= (100 if out.suffix == ".onnx" else 80)
    assert int8["drop"] == pytest.approx(fp32["miou"] - int8["miou"], abs=1e-3)
    assert int8["size_bytes"] < fp32["size_bytes"]
    assert set(int8["class_iou"]) == set(CAMVID_11.names)
    assert all(one["latency_ms"] > 0 for one in figures["precisions"].values())
    assert sum(figures["files"].values()) == sum(path.stat().st_size for path in out.parent.iterdir())


def test_a_file_and_a_report(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "o" / "a.onnx", tmp_path / "report.json"
    assert main(words(checkpoint, out, "--max-drop", "100", "--report", str(report))) == 0
    told = capsys.readouterr().out
    assert "multiply-adds in int8" in told and "IoU Bicyclist" in told
    figures = json.loads(report.read_text())
    assert (figures["images"], figures["calibration_images"], figures["threads"]) == (3, 3, 1)
    check_report(figures, out)
    model = load(out, threads=1)
    assert model.fixed_size == (64, 48)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert (model(image) == load(checkpoint)(image)).mean() > 0.6
    assert main(["predict", str(out), "--out", str(tmp_path), "nothing.png"]) == 2  # the file is like any other
    assert main(words(checkpoint, out, "--max-drop", "100")) == 2
    assert f"--out {out}: exists already" in capsys.readouterr().err


def test_a_limit_that_cannot_be_kept_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fleetseg.quantise import quantised_export

    true_accuracy = quantised_export.accuracy

    def worse(path: Path, *rest: Any) -> Any:
        found = true_accuracy(path, *rest)
        if "int8" in path.parent.name:
            found.scores.__dict__["miou"] -= 0.2
        return found

    monkeypatch.setattr(quantised_export, "accuracy", worse)
    assert main(words(checkpoint, tmp_path / "a.onnx")) == 1
    told = capsys.readouterr().err
    assert "small as ONNX: int8 loses 2" in told
    assert "--max-drop is 0.5; try more --calibration images or a larger --max-drop, or fine-tune" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_fine_tuning_when_the_limit_cannot_be_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleetseg.quantise import quantised_export
    from fleetseg.quantise.search import Found

    class Once:
        """The first search finds nothing."""

        found = quantised_export._Work.quantise
        calls = 0

        def __call__(self, work: Any, network: Any) -> Found:
            self.calls += 1
            found = type(self).found(work, network)
            return Found(None, found.attempts) if self.calls == 1 else found

    once = Once()
    monkeypatch.setattr(quantised_export._Work, "quantise", lambda work, network: once(work, network))
    report = tmp_path / "report.json"
    more = ("--max-drop", "100", "--fine-tune", "1", "--report", str(report))
    assert main(words(checkpoint, tmp_path / "a.onnx", *more)) == 0
    figures = json.loads(report.read_text())
    assert (once.calls, figures["fine_tuned_epochs"]) == (2, 1)
    assert set(figures["files"]) == {"a.onnx", "a-tuned.safetensors"}
    tuned = load(tmp_path / "a-tuned.safetensors")
    assert tuned.classes == CAMVID_11.names


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64x48", "dynamic"])
def test_openvino(size: str, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    out, report = tmp_path / "o" / "a.xml", tmp_path / "report.json"
    more = ("--max-drop", "100", "--report", str(report))
    assert main(words(checkpoint, out, *more, form="openvino", size=size)) == 0
    check_report(json.loads(report.read_text()), out)


@pytest.mark.slow
def test_litert(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    out, report = tmp_path / "o" / "a.tflite", tmp_path / "report.json"
    assert main(words(checkpoint, out, "--max-drop", "100", "--report", str(report), form="litert")) == 0
    check_report(json.loads(report.read_text()), out)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert (load(out, threads=1)(image) == load(checkpoint)(image)).mean() > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "suffix"), [("openvino", "nncf", ".xml"), ("litert", "ai_edge_quantizer", ".tflite")]
)
def test_layers_turned_back(
    name: str, package: str, suffix: str, random_network: Build, metadata_of: Build, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    import torch

    from fleetseg.metadata import ExportedForm
    from fleetseg.quantise.quantised_export import quantiser_of

    network = random_network("enet", 4, seed=3)
    form = ExportedForm(format=name, size=(32, 24), precision="int8")
    batches = [np.random.default_rng(k).standard_normal((1, 3, 24, 32)).astype(np.float32) for k in range(4)]
    quantiser = quantiser_of(name)(network, metadata_of(network), form, batches)
    names, path = [layer.name for layer in quantiser.layers], tmp_path / f"a{suffix}"
    assert len(set(names)) == len(names)
    quantiser.write(path, names[::2])
    found = quantiser.integer_layers(path)
    # OpenVINO has no integer kernel for some of the narrowest layers.
    assert found == set(names[1::2]) or (name == "openvino" and found <= set(names[1::2]))
    quantiser.write_alone(path, names[5])
    assert quantiser.integer_layers(path) == {names[5]}
    quantiser.write_alone(path, "")
    with torch.inference_mode():
        expected = network(torch.from_numpy(batches[0])).numpy()
    logits = load(path, threads=1).run(batches[0])  # type: ignore[attr-defined]
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["enet", "segnet"])  # SegNet's convolutions read pooled and un-pooled maps
def test_openvino_seeks_maxima_in_maps_that_are_not_rounded(
    name: str, random_network: Build, metadata_of: Build, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    import openvino

    from fleetseg.metadata import ExportedForm
    from fleetseg.quantise.openvino_int8 import OpenVinoQuantiser

    network, form = random_network(name, 4, seed=3), ExportedForm(format="openvino", size=(64, 32), precision="int8")
    batches = [np.random.default_rng(k).standard_normal((1, 3, 32, 64)).astype(np.float32) for k in range(2)]
    path = tmp_path / "a.xml"
    OpenVinoQuantiser(network, metadata_of(network), form, batches).write(path, ())
    operations = openvino.Core().read_model(path).get_ordered_ops()
    rounding = [one for one in operations if one.get_type_name() == "FakeQuantize"]
    readers = {to.get_node().get_type_name() for one in rounding for to in one.output(0).get_target_inputs()}
    layers = [one for one in operations if one.get_type_name() == "Convolution"]
    assert {one.get_type_name() for one in operations} >= {"MaxPool", "Equal", "Select"}
    assert not readers & {"MaxPool", "Equal"}
    sources = [one.input_value(0).get_node() for one in layers]
    sources = [one.input_value(0).get_node() if one.get_type_name() == "Pad" else one for one in sources]
    assert layers and {one.get_type_name() for one in sources} == {"FakeQuantize"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--precision", "int8"], "--precision int8: --data DIR is needed, a data set whose images calibrate"),
        (["--precision", "int8", "--data", "nowhere"], "nowhere: there is no such data folder"),
        (["--precision", "int8", "--data", "empty"], "empty: no data set is found in this folder"),
        (["--precision", "int8", "--data", "scenes:2", "--calibration", "0"], "--calibration 0: at least one image"),
        (["--precision", "int8", "--data", "scenes:2", "--max-drop", "-1"], "--max-drop -1: mIoU points from 0 to"),
        (
            ["--precision", "int8", "--format", "ncnn", "--size", "64x48"],
            "ncnn is written in fp32, fp16; onnx, openvino, litert can",
        ),
        (["--precision", "int8", "--data", "other"], "small does not fit the data: "),
        (["--data", "scenes:2"], "--data, --report and --fine-tune belong to --precision int8"),
    ],
)
def test_wrong_calls(more: list[str], sentence: str, checkpoint: Path, refused: Callable[..., None]) -> None:
    Path("empty").mkdir()
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            place = Path("other", kind, split, "a.png")
            place.parent.mkdir(parents=True)
            Image.new("RGB" if kind == "images" else "L", (32, 24)).save(place)
    Path("other", "classes.yaml").write_text("names: [cat, dog]\n")
    out = "a.param" if "ncnn" in more else "a.onnx"
    refused(["export", str(checkpoint), "--format", "onnx", "--out", out, *more], sentence)
