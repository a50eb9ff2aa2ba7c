"""The loop that finds the processor's peak."""

from __future__ import annotations

import subprocess

import pytest

from fleetseg.benchmark.peak import PeakMeter, source_text
from fleetseg.compiler.build import find_compiler
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import TARGETS, target_named
from fleetseg.errors import CompileError


def test_the_largest_measurement_stays(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path_factory.getbasetemp() / "libraries"))
    meter = PeakMeter(threads=2)
    assert meter.gflops == 0
    meter.measure()
    first = meter.gflops
    assert first > 0
    meter.measure()
    assert meter.gflops >= first
    assert (meter.bf16_gflops is not None) == ("avx512bf16" in extensions())
    assert (meter.of("fp32"), meter.of("bf16"), meter.of("int8")) == (meter.gflops, meter.bf16_gflops, None)


@pytest.mark.parametrize("name", TARGETS)
def test_the_loop_compiles_without_a_warning(name: str) -> None:
    command = [*find_compiler(), "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc", "-"]
    target = target_named(name, extensions())
    text = source_text(target)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_compiler_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CompileError, match="CC names 'no-such-compiler'"):
        PeakMeter(1)
