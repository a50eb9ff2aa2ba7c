"""The scripts of benchmarks/, as they are imported where one of them is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Their folder; during the test they can be imported by name, anew in each."""
    monkeypatch.syspath_prepend(SCRIPTS)
    yield SCRIPTS
    for path in SCRIPTS.glob("*.py"):
        sys.modules.pop(path.stem, None)
