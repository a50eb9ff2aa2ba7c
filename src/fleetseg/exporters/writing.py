"""Which exporter writes which format."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from fleetseg.exporters.source import Source

_MODULES = {"torch": "torch_export"}


def write(source: Source, path: Path) -> None:
    """Write `source` to `path` (and what stands beside it) in its form's format."""
    name = source.form.format
    import_module(f"fleetseg.exporters.{_MODULES.get(name, name)}").write(source, path)
