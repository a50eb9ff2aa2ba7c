"""The processor's peak of multiply-adds, measured with a small C loop by the compiler that makes the libraries."""

from __future__ import annotations

import ctypes
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from fleetseg.compiler.build import build_library, find_compiler
from fleetseg.compiler.processor import extensions
from fleetseg.compiler.target import Target, target_named

#: Seconds of one measurement in one precision.
SECONDS = 0.02


class PeakMeter:
    """The largest value of all measurements: what else runs on the machine only ever makes one smaller."""

    def __init__(self, threads: int) -> None:
        """Build the loop for this processor. `CompileError` if there is no C compiler or it fails."""
        self.compiler = find_compiler()
        found = extensions()
        self._threads = threads
        target = target_named("host", found, "bf16")
        self._has_bf16 = target.dots
        self._function = _load(self.compiler, target)
        self._best = [0.0, 0.0]

    def measure(self) -> None:
        """Measure once more, all threads at once."""
        for kind in (0, 1) if self._has_bf16 else (0,):
            self._best[kind] = max(self._best[kind], self._function(kind, self._threads, SECONDS))

    @property
    def gflops(self) -> float:
        """Float32 multiply-adds × 2 a nanosecond; 0 before the first measurement."""
        return self._best[0]

    @property
    def bf16_gflops(self) -> float | None:
        """The same for dot products of bf16 pairs; None where the processor has none."""
        return self._best[1] if self._has_bf16 else None

    def of(self, precision: str) -> float | None:
        """The peak against which a precision is held; None if it was not measured."""
        return {"fp32": self.gflops, "bf16": self.bf16_gflops}.get(precision)


def source_text(target: Target) -> str:
    """The C file for a target."""
    attribute = f'__attribute__((target("{",".join(target.extensions)}")))' if target.extensions else ""
    head = f"#define LANES {target.lanes}\n#define TARGET {attribute}\n#define BF16 {target.dots + target.tiles}\n"
    return head + (resources.files("fleetseg.benchmark") / "peak.c").read_text(encoding="utf-8")


def _load(compiler: list[str], target: Target) -> Any:
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        source, library = Path(folder) / "peak.c", Path(folder) / "peak.so"
        source.write_text(source_text(target))
        source.with_suffix(".h").touch()
        build_library(source, library, compiler)
        # The library stays mapped after its file is gone.
        function = ctypes.CDLL(str(library)).fleetseg_peak
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
    function.restype = ctypes.c_double
    return function
