"""What tests of whole trainings look at, and how they interrupt them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fleetseg.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]

WEIGHTS = ("best.safetensors", "last.safetensors", "stages/encoder.safetensors", "stages/network.safetensors")


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_results(one: Path, other: Path) -> None:
    """Every tensor bit by bit, and the history but for its times."""
    for name in WEIGHTS:
        left, right = load_file(one / name), load_file(other / name)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name
    times = ("images_per_second", "seconds", "validation_seconds")
    left_rows, right_rows = (
        [{k: v for k, v in row.items() if k not in times} for row in rows(o)] for o in (one, other)
    )
    assert left_rows == right_rows


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, when: str, how: Any) -> None:
    """Run `how` before or after the `call`-th call of a method, once."""
    original = getattr(owner, method)
    calls = 0

    def patched(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            how()
        result = original(*arguments, **keywords)
        if calls == call and when == "after":
            how()
        return result

    monkeypatch.setattr(owner, method, patched)


def power_cut() -> None:
    raise KeyboardInterrupt
