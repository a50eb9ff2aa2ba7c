"""The library's own look at the processor sees what the kernel says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetseg.compiler.build import find_compiler
from fleetseg.compiler.emit.processor_check import processor_check
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import TARGETS

pytestmark = pytest.mark.skipif(not extensions(), reason="no x86-64 processor that says what it has")


def fits(needed: tuple[str, ...], folder: Path) -> bool:
    source, program = folder / "check.c", folder / "check"
    source.write_text(f"{processor_check(needed)}\nint main(void) {{ return processor_fits(); }}\n")
    subprocess.run([*find_compiler(), "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)], check=True)
    return subprocess.run([program], check=False).returncode == 1


@pytest.mark.parametrize("name", sorted({name for target in TARGETS.values() for name in target.extensions}))
def test_every_extension(name: str, tmp_path: Path) -> None:
    assert fits((name,), tmp_path) == (name in extensions())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target(target: str, tmp_path: Path) -> None:
    needed = TARGETS[target].extensions
    assert fits(needed, tmp_path) == (set(needed) <= extensions())
