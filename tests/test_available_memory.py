"""How much memory is free, on this machine and in containers of both kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg import available_memory as module


def test_this_machine_has_some_but_not_more_than_is_built_in() -> None:
    assert 2**20 < module.available_memory() < 2**50


def test_control_group_2_counts_file_cache_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 400\nactive_file 7\n")
    assert module._container(tmp_path) == 700


def test_control_group_1(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("5000")
    (folder / "memory.usage_in_bytes").write_text("1000")
    (folder / "memory.stat").write_text("cache 5\n")
    assert module._container(tmp_path) == 4000


def test_group_without_limit_leaves_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(module, "_machine", lambda: 123)
    assert module._container(tmp_path) > 2**60
    assert module.available_memory() <= 123
