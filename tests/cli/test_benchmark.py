"""`fleetseg benchmark` from a checkpoint to table and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetseg.benchmark.choices import ENGINES
from fleetseg.cli import main
from fleetseg.metadata import metadata_for
from fleetseg.models import build_network
from fleetseg.models.checkpoint import save_checkpoint, spec_of
from fleetseg.models.cost import multiply_adds

KEYS = {
    *("model", "engine", "precision", "size", "threads", "median_ms", "p90_ms", "p99_ms"),
    *("agreement", "gflops", "first_result_ms", "peak_memory_mb"),
}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network = build_network("espnet-c", 3, alpha2=1, alpha3=1)
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "small", ["road", "car", "sky"]))
    return path


def test_two_engines_and_a_profile(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "figures.json"
    engines = ["--engine", "onnxruntime", "--engine", "native:fp32"]
    words = ["benchmark", str(checkpoint), "--size", "64x48", *engines, "--trials", "3", "--threads", "1"]
    assert main([*words, "--profile", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    record = json.loads(file.read_text())
    assert set(record) == {"peak_gflops", "machine", "versions", "results", "profile"}
    assert record["peak_gflops"] > 0
    assert {"processor", "processors", "bf16_peak_gflops"} <= set(record["machine"])
    assert {"python", "torch", "onnxruntime", "fleetseg", "compiler"} <= set(record["versions"])
    results = {result["engine"]: result for result in record["results"]}
    assert set(results) == {"onnxruntime", "native"}
    for result in results.values():
        assert set(result) == KEYS
        assert (result["model"], result["size"], result["threads"]) == (str(checkpoint), "64x48", 1)
        assert result["agreement"] == 100
        assert 0 < result["median_ms"] <= result["p90_ms"] <= result["p99_ms"]
        assert f"{result['engine']}:fp32" in shown
    macs = multiply_adds(build_network("espnet-c", 3, alpha2=1, alpha3=1), 64, 48)
    (profile,) = record["profile"]
    assert sum(kernel["macs"] for kernel in profile["kernels"]) == macs
    assert results["native"]["gflops"] == pytest.approx(2e-6 * macs / results["native"]["median_ms"], rel=1e-3)
    assert "MB written" in shown
    assert "together" in shown


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", ["enet", "espnet-c"])
def test_every_engine_runs_or_says_why_not(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    words = ["benchmark", model, "--size", "64x48", "--trials", "2", "--threads", "1", "--classes", "4"]
    assert main([*words, "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    ran = {(result["engine"], result["precision"]): result for result in record["results"]}
    skipped = {(one["engine"], one["precision"]) for one in record.get("skipped", [])}
    assert set(ran) | skipped == {(engine, precision) for engine in ENGINES for precision in ENGINES[engine]}
    for (engine, precision), result in ran.items():
        least = {"fp32": 99.9, "bf16": 80, "int8": 50}[precision]
        assert result["agreement"] >= least, (engine, precision)
    if model == "enet" and ("ncnn", "fp32") in skipped:
        (reason,) = [one["reason"] for one in record["skipped"] if one["engine"] == "ncnn"]
        assert "Tensor.slice" in reason or "not installed" in reason


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["enet", "--size", "64"], 2, "--size 64: WIDTHxHEIGHT in pixels is needed"),
        (["enet", "--size", "64x48", "--engine", "tflite"], 2, "There is no engine 'tflite'"),
        (["enet", "--size", "64x48", "--engine", "openvino:fp64"], 2, "There is no precision of openvino 'fp64'"),
        (["enet", "--size", "64x48", "--engine", "torch", "--profile"], 2, "--profile looks into the native engine"),
        (["enett", "--size", "64x48", "--engine", "torch"], 2, "There is no network 'enett'; did you mean enet"),
        (["enet", "--size", "64x48", "--trials", "0"], 2, "Invalid value for '--trials'"),
    ],
)
def test_wrong_calls(
    words: list[str], status: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *words, "--json", str(tmp_path / "out.json")]) == status
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_engine_asked_for_by_name_fails_with_one_sentence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    words = ["benchmark", str(checkpoint), "--size", "64x48", "--trials", "1", "--json", str(tmp_path / "out.json")]
    assert main([*words, "--engine", "native:fp32"]) == 1
    complaint = capsys.readouterr().err
    assert f"native:fp32 on {checkpoint} at 64x48: the environment variable CC names 'no-such-compiler'" in complaint
    assert not (tmp_path / "out.json").exists()
