"""The scripts behind the table of docs/export.md: what they keep, time and print."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleetseg.benchmark.job import IMAGE, Job
from fleetseg.benchmark.worker import MAP, Worker
from fleetseg.errors import UsageError
from fleetseg.exporters.formats import FORMATS
from fleetseg.exporting import scene
from fleetseg.runtime import load

WEIGHTS = Path(__file__).parents[2] / "src" / "fleetseg" / "weights"


pytestmark = pytest.mark.usefixtures("scripts")


def row(**more: Any) -> dict[str, Any]:
    agreement = {"same_classes": 0.9995, "max_difference": 0.25, "largest_logit": 21.0}
    figures = {"form": {"size": [96, 64]}, "size_bytes": 1 << 20, "agreement": agreement, "miou_drop": 0.125}
    return figures | more


def test_a_worker_runs_a_file_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / IMAGE, scene((64, 48)))
    job = Job(str(tmp_path), "file", "espnet-onnx-fp32", 1)
    path = WEIGHTS / "espnet-camvid.onnx"
    assert Worker(job).answer({"do": "load", "form": str(path)}).keys() == {"first_result_ms"}
    assert np.array_equal(np.load(job.own / MAP), load(path, threads=1).logits(scene((64, 48))))


def test_latencies_stand_beside_pytorchs_of_the_same_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import export_latency

    rows: dict[str, Any] = {
        "net onnx fp32": row(),
        "net onnx fp16": {"error": "does not agree"},
        "net onnx int8": row(),  # its file is not there
        "net coreml fp32": row(agreement=None),
        "other onnx fp32": row(),
    }
    for key in rows:
        if "int8" not in key:
            name, word, precision = key.split()
            path = export_latency.file_path(tmp_path, name, FORMATS[word], precision)
            path.parent.mkdir()
            path.touch()
    timed: dict[str, Path] = {}

    def times(files: dict[str, Path], size: tuple[int, int], threads: int) -> dict[str, list[float]]:
        assert (size, threads) == ((96, 64), 2)
        timed.update(files)
        return {"net onnx fp32": [2.0, 3.0, 4.0], "PyTorch": [9.0, 9.0, 12.0]}

    monkeypatch.setattr(export_latency, "timed", times)
    with pytest.raises(UsageError, match=r"net\.safetensors: the network of the files beside it is missing"):
        list(export_latency.add_latencies(rows, tmp_path, ["net"], [], 2))
    export_latency.checkpoint_path(tmp_path, "net").touch()
    assert list(export_latency.add_latencies(rows, tmp_path, ["net", "third"], [], 2)) == ["net"]
    assert timed.keys() == {"net onnx fp32", "PyTorch"}
    assert rows["net onnx fp32"]["latency_ms"] == {"2": {"median": 3.0, "p90": 3.8, "pytorch": 9.0}}
    assert "latency_ms" not in rows["other onnx fp32"]
    with pytest.raises(UsageError, match="holds no file of these rows whose runtime is installed"):
        list(export_latency.add_latencies(rows, tmp_path, ["third"], [], 2))


def test_the_lines_of_a_network_stand_together() -> None:
    from export_table import table

    lines = table({key: row() for key in ("net onnx fp32", "other onnx fp32", "net litert fp32")}).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| net", "onnx"],
        ["| net", "litert"],
        ["| other", "onnx"],
    ]


def test_the_table_has_a_column_for_each_number_of_threads() -> None:
    from export_table import table

    latency = {"2": {"median": 4.0, "p90": 5.0, "pytorch": 10.0}}
    lines = table(
        {
            "net onnx fp32": row(latency_ms=latency),
            "net onnx int8": row(int8_share_of_macs=0.988),
            "net coreml fp32": row(agreement=None),
            "net torch fp32": row(miou_drop=-0.001),
            "net ncnn fp32": {"error": "it failed"},
            "net ncnn fp16": {"error": "the ncnn file gives 96.58% of the pixels the network's class on ncnn (at …"},
        }
    ).splitlines()
    assert lines[0].endswith("| mIoU lost | int8 MACs | ms, 2 threads (× PyTorch) |")
    assert lines[2] == "| net | onnx | fp32 | 1.00 | 99.950% | 0.25 of 21 | 0.12 |  | 4.0 (2.5) |"
    assert lines[3] == "| net | onnx | int8 | 1.00 | 99.950% | 0.25 of 21 | 0.12 | 98.8% |  |"
    assert "not run" in lines[4]
    assert " | 0.00 | " in lines[5]  # and not -0.00
    assert "| it failed |" in lines[6]
    assert "| 96.58%, refused |" in lines[7]
    assert {line.count("|") for line in lines} == {10}


def test_a_file_has_rows_of_one_size_and_latencies_of_one_machine(tmp_path: Path) -> None:
    matrix, record = import_module("export_matrix"), {"rows": {"net onnx fp32": row()}}
    arguments = SimpleNamespace(
        out=Path("a.json"), size=(64, 48), weights=[], network=["net"], format=None, threads=[2]
    )
    with pytest.raises(UsageError, match=r"a\.json: its rows are of 96x64; give --size 96x64, or begin another file"):
        list(matrix.export_steps(record, tmp_path / "keep", arguments))
    record["latency_machine"] = {"processor": "another", "target": "generic"}
    with pytest.raises(UsageError, match=r"a\.json: was timed on another, not"):
        list(matrix.latency_steps(record, tmp_path / "keep", arguments))
    assert not (tmp_path / "keep").exists()


@pytest.mark.slow
def test_what_one_call_keeps_the_next_one_times(scripts: Path, tmp_path: Path) -> None:
    out, keep = tmp_path / "found.json", tmp_path / "keep"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(scripts / "export_matrix.py"), "--out", str(out), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "--keep DIR and its --out FILE are needed" in run("--latency").stderr
    wanted = ("--network", "espnet-camvid", "--format", "onnx")
    done = run("--keep", str(keep), *wanted, "--precision", "fp32", "--size", "64x48")
    assert done.returncode == 0, done.stderr
    assert load(keep / "espnet-camvid-onnx-fp32" / "espnet-camvid.onnx").fixed_size == (64, 48)
    done = run("--keep", str(keep), *wanted, "--latency", "--threads", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["versions"]["onnx"]["onnxruntime"]
    assert found["rows"]["espnet-camvid onnx fp32"]["latency_ms"]["1"]["pytorch"] > 0
