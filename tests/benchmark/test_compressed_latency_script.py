"""The script that times networks before and after compression: which files it times, and what it prints."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from fleetseg.runtime.loading import checkpoint_path


@pytest.fixture
def timed(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Path]]:
    """The files of each call; instead of being compiled they hold the model's own content."""
    script, calls = import_module("compressed_latency"), []

    def write(model: str, path: Path, size: tuple[int, int], threads: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(checkpoint_path(model).read_bytes() + f" {size} {threads}".encode())

    def times(files: dict[str, Path], size: tuple[int, int], threads: int) -> dict[str, list[float]]:
        calls.append(dict(files))
        return {name: [20.0 if name.startswith("0") else 15.0] * 3 for name in files if "bf16" not in name}

    monkeypatch.setattr(script, "write", write)
    monkeypatch.setattr(script, "timed", times)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["compressed_latency.py", *words])
    import_module("compressed_latency").main()


def test_differences_from_the_first_model(
    timed: list[dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.safetensors").write_text(name)
    words = ("a.safetensors", "b.safetensors", "--files", "files", "--size", "64x48")
    run(monkeypatch, *words, "--prepare")
    assert timed == [] and len(list(Path("files").glob("*/*"))) == 6
    run(monkeypatch, *words)
    assert capsys.readouterr().out.splitlines() == [
        "a, compiled fp32: 20.00 ms (+0.0%)",
        "a, ONNX Runtime: 20.00 ms (+0.0%)",
        "b, compiled fp32: 15.00 ms (-25.0%)",
        "b, ONNX Runtime: 15.00 ms (-25.0%)",
    ]


@pytest.mark.parametrize("change", ["weights", "size", "threads"])
def test_files_of_another_call_are_not_timed(
    change: str, timed: list[dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = Path("run/best.safetensors")
    weights.parent.mkdir()
    weights.write_text("first")
    run(monkeypatch, "run", "--files", "files", "--size", "64x48")
    if change == "weights":
        weights.write_text("second")
    size, threads = "96x64" if change == "size" else "64x48", "2" if change == "threads" else "1"
    run(monkeypatch, "run", "--files", "files", "--size", size, "--threads", threads)
    contents = [{name: path.read_text() for name, path in files.items()} for files in timed]
    expected = f"{'second' if change == 'weights' else 'first'} ({size.replace('x', ', ')}) {threads}"
    assert set(contents[1].values()) == {expected}
