"""The compiled library as a candidate for the fastest engine: compiled once, by a process of its own, then kept.

That process has torch and the C compiler; this one needs neither. Libraries stay in the cache folder, below
``compiled``, by the hash of the weights, the size and the precision.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

from fleetseg.compiling_process import CompilingProcesses
from fleetseg.errors import FleetsegError, OutputError
from fleetseg.runtime.fastest import cache_folder
from fleetseg.runtime.model import Model, Size
from fleetseg.runtime.native_engine import is_library, read_library

#: Candidate → precision. In bf16 answers differ a little from float32's, as an fp16 file's do.
CANDIDATES = {"native": "fp32", "native-bf16": "bf16"}


def compiled_candidates() -> tuple[str, ...]:
    """Those that can be tried on this machine: none without torch and a C compiler, bf16 where it has instructions."""
    if importlib.util.find_spec("torch") is None or not _has_c_compiler():
        return ()
    return tuple(name for name, precision in CANDIDATES.items() if precision == "fp32" or _has_bf16())


def open_compiled(name: str, content: bytes, candidate: str, size: Size, threads: int | None) -> Model:
    """The library of weights `name`, whose bytes are `content`, for images of `size`; compiled if it is not there yet.

    `CompileError` if it cannot be compiled, `OutputError` if the cache cannot be written.
    """
    precision = CANDIDATES[candidate]
    key = hashlib.sha256(content).hexdigest()[:24]
    folder = cache_folder() / "compiled" / f"{key}-{size[0]}x{size[1]}-{precision}"
    if not is_library(folder):
        _compile(name, size, folder, precision)
    try:
        return read_library(folder, threads)
    except FleetsegError:
        shutil.rmtree(folder, ignore_errors=True)  # of another version: it is made anew
        _compile(name, size, folder, precision)
        return read_library(folder, threads)


def _compile(name: str, size: Size, folder: Path, precision: str) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder.parent}: cannot be written ({error.strerror or error})") from error
    with CompilingProcesses(folder.parent) as processes:
        made = processes.new_folder() / "library"
        processes.compile(name, size, made, precision)
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)


def _has_c_compiler() -> bool:
    named = os.environ.get("CC", "").split()[:1]
    found = any(shutil.which(name) for name in (*named, "cc", "gcc", "clang"))
    return found or importlib.util.find_spec("ziglang") is not None


def _has_bf16() -> bool:
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
