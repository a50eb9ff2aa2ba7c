"""The compiled library among the candidates for the fastest engine: only for one size, compiled once, then kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fleetseg
from fleetseg.errors import CompileError
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.runtime import compiled_candidates, loading

Build = Callable[..., Any]
SIZE = (32, 24)


@pytest.fixture
def checkpoint(random_network: Build, metadata_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small weights, and an empty cache."""
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network = random_network("espnet-c", 4, seed=5, alpha2=1, alpha3=1)
    save_checkpoint(tmp_path / "small.safetensors", network, metadata_of(network))
    return tmp_path / "small.safetensors"


def times(folder: Path) -> dict[str, float]:
    (record,) = (folder / "cache" / "engines").iterdir()
    found: dict[str, float] = json.loads(record.read_text())["milliseconds"]
    return found


@pytest.mark.slow
def test_compiled_once_then_loaded(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled_candidates.compiled_candidates():
        pytest.skip("no C compiler")
    model = fleetseg.load(checkpoint, "auto", threads=1, size=SIZE)
    assert {"torch", "native"} <= set(times(tmp_path))
    assert model.engine in ("torch", "native")
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    assert (model.predict(image, SIZE) == fleetseg.load(checkpoint).predict(image, SIZE)).mean() > 0.95
    kept = sorted(path.name for path in (tmp_path / "cache" / "compiled").iterdir() if path.name.endswith("fp32"))
    assert len(kept) == 1 and "32x24" in kept[0]
    monkeypatch.setattr(compiled_candidates, "_compile", lambda *words: pytest.fail("compiled again"))
    content = checkpoint.read_bytes()
    again = compiled_candidates.open_compiled(str(checkpoint), content, "native", SIZE, 1)
    assert again.fixed_size == SIZE


def test_only_for_one_size_on_the_cpu(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refused(name: str, content: bytes, candidate: str, size: Any, threads: int | None) -> Any:
        asked.append(candidate)
        raise CompileError("no")

    monkeypatch.setattr(loading, "compiled_candidates", lambda: ("native", "native-bf16"))
    monkeypatch.setattr(loading, "open_compiled", refused)
    assert fleetseg.load(checkpoint, "auto", threads=1).engine == "torch"
    assert asked == []
    assert fleetseg.load(checkpoint, "auto", threads=1, size=SIZE).engine == "torch"
    assert asked == ["native", "native-bf16"]
    assert set(times(tmp_path)) == {"torch"}


def test_no_c_compiler_no_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr(compiled_candidates.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiled_candidates.importlib.util, "find_spec", lambda name: name == "torch" or None)
    assert compiled_candidates.compiled_candidates() == ()
