"""The fastest engine is found once and remembered for as long as nothing changes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import fleetseg
from fleetseg.errors import CheckpointError
from fleetseg.metadata import NetworkSpec, metadata_for
from fleetseg.runtime import Model, fastest
from fleetseg.runtime.fastest import fastest_engine

METADATA = metadata_for(NetworkSpec(name="colours", num_classes=3), "colours", ["red", "green", "blue"])


class Sleeper:
    """An engine that takes its time."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds

    def run(self, batch: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        return batch


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which engines were loaded, in order; the cache is empty and everything is installed."""
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest.util, "find_spec", lambda name: object())
    return []


def trial(opened: list[str], content: bytes = b"weights", threads: int | None = 1) -> str:
    seconds = {"onnxruntime": 0.02, "openvino": 0.0, "opencv": 0.04}

    def open_on(name: str) -> Model:
        opened.append(name)
        if name == "torch":
            raise CheckpointError("broken")
        return Model(Sleeper(name, seconds[name]), METADATA)

    return fastest_engine(content, ("onnxruntime", "openvino", "opencv", "torch"), open_on, threads)


def test_measured_once_then_remembered(opened: list[str], tmp_path: Path) -> None:
    assert trial(opened) == "openvino"
    assert opened == ["onnxruntime", "openvino", "opencv", "torch"]
    assert trial(opened) == "openvino"
    assert len(opened) == 4
    (record,) = (tmp_path / "cache" / "engines").iterdir()
    assert set(json.loads(record.read_text())["milliseconds"]) == {"onnxruntime", "openvino", "opencv"}


def test_other_weights_threads_and_broken_records_are_measured_again(opened: list[str], tmp_path: Path) -> None:
    trial(opened)
    trial(opened, content=b"others")
    trial(opened, threads=2)
    assert len(opened) == 12
    for record in (tmp_path / "cache" / "engines").iterdir():
        record.write_text('{"engine": "abacus"}')
    assert trial(opened) == "openvino"
    assert len(opened) == 16


def test_nothing_to_compare(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest.util, "find_spec", lambda name: object() if name == "onnxruntime" else None)
    assert trial(opened) == "onnxruntime"
    assert opened == []


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "file"))
    assert trial(opened) == "openvino"


def test_load_takes_it(colour_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    model = fleetseg.load(colour_onnx, engine="auto", threads=1)
    assert model.engine in ("onnxruntime", "openvino", "opencv")
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model(image), image.argmax(axis=2))
