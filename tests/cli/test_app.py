"""The command line as a whole: help, exit statuses, interruptions. Each mistake is one sentence."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import fleetseg
from fleetseg.cli import main, predict_images

COMMANDS = ("predict", "evaluate", "compile", "serve", "train", "tune", "runs", "report", "models", "data")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleetseg", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_help_lists_the_commands_and_takes_under_half_a_second() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: fleetseg")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fleetseg {fleetseg.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_says_how_to_call_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"fleetseg {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predikt"], "No such command 'predikt'"),
        (["--verbose"], "No such option: --verbose"),
        (["predict"], "Missing argument 'MODEL'"),
        (["predict", "m", "i", "--out", "o", "--threads", "0"], "Invalid value for '--threads'"),
        (["predict", "m", "i"], "Missing option '--out'"),
    ],
)
def test_wrong_calls_name_the_help(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"fleetseg: {sentence}")
    command = "fleetseg predict" if words[0] == "predict" else "fleetseg"
    assert shown.err.endswith(f" (see {command} --help)\n")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, ""),
        (
            MemoryError(),
            1,
            "fleetseg: the memory that is free does not suffice; use smaller images or fewer at once\n",
        ),
        (fleetseg.FleetsegError("x.png: is broken"), 1, "fleetseg: x.png: is broken\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x.png"), 1, "fleetseg: x.png: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left"), 1, "fleetseg: a file cannot be written (No space left)\n"),
    ],
)
def test_what_becomes_of_errors(
    error: BaseException,
    status: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(predict_images, "find_images", fail)
    assert main(["predict", "m", "i", "--out", "o"]) == status
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), OSError("about no file")])
def test_bugs_are_not_swallowed(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise bug

    monkeypatch.setattr(predict_images, "find_images", fail)
    with pytest.raises(type(bug)):
        main(["predict", "m", "i", "--out", "o"])


def test_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["predict", "m", "i", "--out", "o"]) == 1
    assert capsys.readouterr().err == "fleetseg: the folder in which this was started is gone; go to another one\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fleetseg", "--help"],
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


def test_installed_command() -> None:
    command = Path(sys.executable).with_name("fleetseg")
    if not command.exists():
        pytest.skip("fleetseg is not installed beside this Python")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("fleetseg ")
