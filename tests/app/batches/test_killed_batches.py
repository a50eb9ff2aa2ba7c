"""Batches of which workers or the whole run are killed: every good image exactly once, here and on Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .noise_images import break_some, check_each_once, rows, write_images

parquet = pytest.importorskip("pyarrow.parquet")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(colour_onnx: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the command; what still runs at the end is killed."""
    # Ray lets its workers wait for everything else on the machine.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    started = []

    def begin(*words: str) -> subprocess.Popen[str]:
        process = _start(colour_onnx, here, *words)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _start(model: Path, here: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fleetseg", "predict", str(model), *words, "--size", "native", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here)


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 200) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return found


def workers_so_far(out: Path) -> list[int]:
    """Process numbers of the workers that the parts of the manifest name."""
    numbers = set()
    for part in (out / ".manifest").glob("[0-9]*.parquet"):
        numbers |= {int(name.rpartition(":")[2]) for name in parquet.read_table(part).column("worker").to_pylist()}
    return sorted(numbers)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cluster", [[], ["--cluster", "ray"]])
def test_killed_worker_killed_run_and_broken_files(start: Start, here: Path, cluster: list[str]) -> None:
    if cluster:
        pytest.importorskip("ray")
    wanted = write_images(here / "in", 160, (500, 400))
    break_some(here / "in")
    broken = {"text.jpg", "empty.png", "cut.png"}
    images = sorted(str(path) for path in (here / "in").iterdir())
    Path("list.txt").write_text("\n".join([*images, str(here / "in/gone.png")]))
    words = ["list.txt", "--out", "out", "--workers", "2", *cluster]
    # First the whole run is killed, then one worker of the second.
    first = start(*words)
    wait_for(lambda: workers_so_far(here / "out"), first)
    first.kill()
    first.communicate(timeout=60)
    before = len(list((here / "out").glob("0*.png")))
    assert 0 < before < len(wanted)
    second = start(*words)
    seen = set(workers_so_far(here / "out"))
    victim = wait_for(lambda: set(workers_so_far(here / "out")) - seen, second).pop()
    os.kill(victim, signal.SIGKILL)
    shown, error = second.communicate(timeout=400)
    assert second.returncode == 1, error
    result = json.loads(shown)
    assert result["labelled"] + result["finished_before"] == len(wanted)
    assert result["finished_before"] > 0
    assert result["failed"] == 4
    check_each_once(here / "out", wanted, broken | {"gone.png"})
    third = start(*words)
    shown, _ = third.communicate(timeout=400)
    result = json.loads(shown)
    assert (result["labelled"], result["finished_before"]) == (0, len(wanted))
    check_each_once(here / "out", wanted, broken | {"gone.png"})


@pytest.mark.slow
def test_sigterm_writes_the_manifest(start: Start, here: Path) -> None:
    write_images(here / "in", 160, (500, 400))
    process = start("in", "--out", "out", "--workers", "1")
    wait_for(lambda: workers_so_far(here / "out"), process)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert 0 < len(rows(here / "out")) < 160
    assert not (here / "out/.manifest").exists()
