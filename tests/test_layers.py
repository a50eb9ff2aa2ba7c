"""The code's imports are those of the table in docs/layout.md, no more and no fewer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "fleetseg"
#: Within these places only these modules may import torch.
TORCH_ONLY_IN = {"runtime": {"torch_engine"}, "compiler": {"capture"}}
TORCH = {"torch", "pytorch_lightning"}


def table() -> dict[str, tuple[bool, set[str]]]:
    """Place → (may import torch, places it imports)."""
    rows = {}
    for line in (ROOT / "docs" / "layout.md").read_text(encoding="utf-8").splitlines():
        found = re.match(r"\| `(\w+)` \|\s*(T?)\s*\|.*\| ([^|]+) \|$", line)
        if found:
            allowed = set() if found[3].strip() == "–" else {word.strip() for word in found[3].split(",")}
            rows[found[1]] = (found[2] == "T", allowed)
    return rows


def imported_names(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "fleetseg":
            # `from fleetseg import x`: a place of that name, or one of the package's own names.
            places = {p.stem for p in SOURCE.iterdir()}
            names |= {f"fleetseg.{a.name}" if a.name in places else "fleetseg" for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def place_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_every_place_stands_in_the_table() -> None:
    assert {place_of(path) for path in SOURCE.rglob("*.py")} == set(table())


def test_imports_are_those_of_the_table() -> None:
    found: dict[str, set[str]] = {place: set() for place in table()}
    for path in SOURCE.rglob("*.py"):
        for name in imported_names(path):
            parts = name.split(".")
            if parts[0] == "fleetseg":
                found[place_of(path)].add(parts[1] if len(parts) > 1 else "__init__")
    for place, (_, allowed) in table().items():
        assert found[place] - {"errors", place} == allowed - {place}, place


def test_torch_is_imported_only_where_the_table_says() -> None:
    for path in SOURCE.rglob("*.py"):
        if {name.split(".")[0] for name in imported_names(path)} & TORCH:
            place = place_of(path)
            assert table()[place][0], f"{path} imports torch"
            if place in TORCH_ONLY_IN:
                assert path.stem in TORCH_ONLY_IN[place], f"{path} imports torch"


def test_importing_the_package_and_its_command_line_needs_no_torch() -> None:
    code = (
        "import sys, fleetseg, fleetseg.cli, fleetseg.runtime, fleetseg.data, fleetseg.evaluation;"
        "from fleetseg.cli.app import build_app; build_app(); fleetseg.load;"
        "print(sorted(set(sys.modules) & {'torch', 'pytorch_lightning'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
