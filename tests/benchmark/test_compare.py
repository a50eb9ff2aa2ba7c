"""Who is awake when, and what happens to engines that fail; the workers are played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetseg.benchmark import compare as compare_module
from fleetseg.benchmark.choices import choose
from fleetseg.benchmark.compare import Settings, compare
from fleetseg.benchmark.job import REFERENCE, Job
from fleetseg.benchmark.record import Comparison
from fleetseg.benchmark.subject import Subject
from fleetseg.benchmark.worker import MAP
from fleetseg.errors import BenchmarkError, UsageError

#: (engine, what it did), in order.
Events = list[tuple[str, str]]


class PlayedWorker:
    """Answers like a worker; `failing` says at which request which engine fails."""

    events: Events
    failing: dict[tuple[str, str], str]

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> PlayedWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.append((self._job.engine, "close"))

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        self.events.append((self._job.engine, what))
        reason = self.failing.get((self._job.engine, what))
        if reason:
            raise BenchmarkError(reason)
        if what == "load":
            np.save(self._job.own / MAP, np.zeros((2, 2), np.uint8))
        replies: dict[str, dict[str, Any]] = {
            "prepare": {"form": "it"},
            "load": {"first_result_ms": 5.0},
            "run": {"milliseconds": [2.0] * details.get("trials", 0)},
            "memory": {"peak_memory_mb": 10.0},
        }
        return replies[what]

    def stop(self) -> None:
        self.events.append((self._job.engine, "stop"))

    def wake(self) -> None:
        self.events.append((self._job.engine, "wake"))


Play = Callable[..., tuple[Comparison, Events]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    np.save(tmp_path / REFERENCE, np.asarray([[0, 0], [0, 1]], np.uint8))
    subject = Subject("tiny", (2, 2), tmp_path, 10**6, False)

    def run(words: list[str], **failing: str) -> tuple[Comparison, Events]:
        PlayedWorker.events = []
        PlayedWorker.failing = {(key.split("_")[0], key.split("_")[1]): reason for key, reason in failing.items()}
        monkeypatch.setattr(compare_module, "WorkerProcess", PlayedWorker)
        found = compare(subject, Settings(choose(words), 1, 4), None, lambda what, done: None)
        return found, PlayedWorker.events

    return run


def test_only_one_is_awake_and_all_take_turns(play: Play) -> None:
    found, events = play(["opencv", "onnxruntime"])
    awake: set[str] = set()
    for engine, what in events:
        if what in ("prepare", "load", "wake"):
            assert awake <= {engine}
            awake.add(engine)
        elif what in ("stop", "close"):
            awake.discard(engine)
    ran = [engine for engine, what in events if what == "run"]
    assert ran == ["opencv", "onnxruntime", "onnxruntime", "opencv"] * 2
    assert [result.engine for result in found.results] == ["opencv", "onnxruntime"]
    (result, _) = found.results
    assert (result.median_ms, result.gflops, result.agreement) == (2.0, pytest.approx(1.0), 75.0)
    assert (result.first_result_ms, result.peak_memory_mb, result.size) == (5.0, 10.0, "2x2")


@pytest.mark.parametrize("what", ["prepare", "load", "run", "memory"])
def test_an_engine_that_was_asked_for_must_run(play: Play, what: str) -> None:
    with pytest.raises(BenchmarkError, match=r"^opencv:fp32 on tiny at 2x2: too little paper$"):
        play(["onnxruntime", "opencv"], **{f"opencv_{what}": "too little paper"})
    # Whatever had been started was ended.
    started = [engine for engine, event in PlayedWorker.events if event == "load"]
    closed = [engine for engine, event in PlayedWorker.events if event == "close"]
    assert set(started) <= set(closed)


@pytest.mark.parametrize("what", ["prepare", "load", "run", "memory"])
def test_without_being_asked_for_it_is_left_out_with_its_reason(
    play: Play, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {"onnxruntime": ("fp32",), "opencv": ("fp32",)}
    monkeypatch.setattr("fleetseg.benchmark.choices.ENGINES", engines)
    found, _ = play([], **{f"opencv_{what}": "too little paper"})
    assert [result.engine for result in found.results] == ["onnxruntime"]
    assert [(one.engine, one.reason) for one in found.skipped] == [("opencv", "too little paper")]


def test_an_engine_that_is_not_installed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetseg.benchmark.choices._PACKAGES", {"opencv": ("no_such_package",)})
    with pytest.raises(UsageError, match=r"opencv:fp32 on tiny at 2x2: no_such_package is not installed: pip install"):
        play(["opencv"])
    assert PlayedWorker.events == []
    monkeypatch.setattr("fleetseg.benchmark.choices.ENGINES", {"opencv": ("fp32",)})
    found, _ = play([])
    assert found.results == []
    assert found.skipped[0].reason == "no_such_package is not installed: pip install 'fleetseg[benchmark]'"


def test_a_name_alone_asks_for_at_least_one_of_its_precisions(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetseg.benchmark.choices._PACKAGES", {"torch:bf16": ("no_such_package",)})
    found, _ = play(["torch"])
    assert [result.precision for result in found.results] == ["fp32"]
    assert [one.precision for one in found.skipped] == ["bf16"]
