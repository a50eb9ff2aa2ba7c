"""``fleetseg train`` as a user runs it: killed without warning, stopped with Ctrl-C, and continued."""

from __future__ import annotations

import csv
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fleetseg.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]

#: Seconds that one process may take; generous, as other work may run on the machine.
PATIENCE = 600


@pytest.fixture(scope="module")
def recipe_file(make_recipe: MakeRecipe, make_stage: MakeStage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages of ENet (dropout) in fp32 with one worker and averaged weights."""
    stages = [make_stage("encoder", part="encoder", epochs=5), make_stage("network", epochs=5)]
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(make_recipe(data={"workers": 1}, stages=stages).to_yaml())
    return path


def command(recipe: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "fleetseg", "train", str(recipe), "--data", str(data), "--out", str(out), *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def rows(out: Path) -> list[dict[str, str]]:
    path = out / "history.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run_to_its_end(arguments: list[str]) -> None:
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "deprecated" not in done.stderr


def kill_when(arguments: list[str], out: Path, reached: Callable[[list[dict[str, str]]], bool]) -> None:
    """SIGKILL the process, not its workers, as soon as the history says so."""
    process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not reached(rows(out)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def no_half_written_file(out: Path) -> None:
    """Whatever has its final name can be read."""
    for path in out.rglob("*.safetensors"):
        if not path.name.startswith("."):
            load_file(path)
    for path in out.rglob("*.ckpt"):
        if not path.name.startswith("."):
            torch.load(path, weights_only=True)


def same_results(one: Path, other: Path) -> None:
    """Every tensor of every file bit by bit, and the history but for its times."""
    names = {path.relative_to(one) for path in one.rglob("*.safetensors")}
    assert len(names) == 4
    assert names == {path.relative_to(other) for path in other.rglob("*.safetensors")}
    for name in names:
        left, right = load_file(one / name), load_file(other / name)
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert torch.equal(value, right[key]), f"{name}: {key}"
    times = ("images_per_second", "seconds", "validation_seconds")
    assert [{key: row[key] for key in row if key not in times} for row in rows(one)] == [
        {key: row[key] for key in row if key not in times} for row in rows(other)
    ]


@pytest.fixture(scope="module")
def uninterrupted(recipe_file: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the others are compared with."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    run_to_its_end(command(recipe_file, tiny_data, out))
    return out


@pytest.mark.timeout(4 * PATIENCE)
def test_killed_in_both_stages_the_weights_are_the_same(
    recipe_file: Path, tiny_data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    begin = command(recipe_file, tiny_data, out)
    kill_when(begin, out, lambda found: len(found) == 2)
    assert not (out / "stages" / "encoder.safetensors").exists()
    no_half_written_file(out)
    kill_when([*begin, "--resume"], out, lambda found: found[-1:] != [] and found[-1]["stage"] == "network")
    assert not (out / "stages" / "network.safetensors").exists()
    no_half_written_file(out)
    run_to_its_end([*begin, "--resume"])
    same_results(uninterrupted, out)


@pytest.mark.slow
@pytest.mark.timeout(20 * PATIENCE)
def test_killed_again_and_again_at_random_moments(
    recipe_file: Path, tiny_data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = [*command(recipe_file, tiny_data, out), "--resume"]
    dice = random.Random(1)
    for attempt in range(1, 8):
        epochs = attempt + dice.random() * 1.5  # so many, and a part of one
        process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(rows(out)) < int(epochs):
            time.sleep(0.002)
        time.sleep(epochs % 1)
        process.kill()
        process.wait()
        no_half_written_file(out)
    run_to_its_end(arguments)
    same_results(uninterrupted, out)


def read_terminal(terminal: int, until: Callable[[str], bool]) -> str:
    """What is printed until `until` holds of it or the other end is closed."""
    text = ""
    deadline = time.monotonic() + PATIENCE
    while not until(text) and time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            text += os.read(terminal, 65536).decode()
        except OSError:  # Linux's way of saying that the process is gone
            break
    return text


@pytest.mark.timeout(2 * PATIENCE)
def test_a_terminal_shows_progress_and_ctrl_c_is_one_sentence(
    recipe_file: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ours, theirs = pty.openpty()
    arguments = [*command(recipe_file, tiny_data, out), "--set", "stages.encoder.epochs=500"]
    process = subprocess.Popen(
        arguments,
        env={**environment(), "TERM": "xterm-256color", "COLUMNS": "160"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        shown = read_terminal(ours, lambda text: "epoch 3/500" in text)
        os.write(ours, b"\x03")  # the key: the whole foreground group gets the signal, workers too
        after = read_terminal(ours, lambda _text: False)
        assert process.wait(timeout=PATIENCE) == 130
    finally:
        process.kill()
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"encoder .*epoch \d+/500, loss \d\.\d{3}, mIoU (–|\d+\.\d\d), \d+\.\d images/s", plain)
    assert re.search(r"\d:\d\d:\d\d", plain)
    words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", after)
    assert "Traceback" not in words, words
    sentences = [line for line in words.splitlines() if line.startswith("fleetseg:")]
    assert sentences == [f"fleetseg: stopped; the same command with --resume continues {out} from the last whole epoch"]
    assert len(rows(out)) >= 2
