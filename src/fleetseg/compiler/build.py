"""From C to a library: which C compiler, which flags, and a cache of what was built before."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fleetseg.atomic import replacing
from fleetseg.compiler.target import FLAGS
from fleetseg.errors import CompileError, NoCompilerError

#: Seconds after which a C compiler is taken to hang.
TIME_LIMIT = 600


def find_compiler() -> list[str]:
    """The command of a C compiler: $CC, cc, gcc, clang, or the one in the ziglang package.

    `NoCompilerError` if there is none.
    """
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        if shutil.which(named[0]) is None:
            raise CompileError(
                f"the environment variable CC names '{named[0]}', which is not a program that can be found"
            )
        return named
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return [found]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise NoCompilerError(
        "no C compiler was found (CC, cc, gcc, clang or the ziglang package); "
        "install one, for example with pip install ziglang, or run the network on engine 'onnxruntime'"
    )


def build_library(source: Path, library: Path, compiler: list[str]) -> None:
    """Compile `source` (its header beside it) into `library`, or copy what the same input gave before.

    `CompileError` with the compiler's first complaint if it fails.
    """
    cached = cache_folder() / f"{_key(source, compiler)}.so"
    if not cached.is_file():
        _compile(source, cached, compiler)
    with replacing(library) as temporary:
        shutil.copyfile(cached, temporary)


def cache_folder() -> Path:
    """Where built libraries are kept: $FLEETSEG_CACHE, else below $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("FLEETSEG_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleetseg" / "libraries"


def compiler_version(compiler: list[str]) -> str:
    """The first line with which the compiler introduces itself."""
    try:
        done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompileError(f"the C compiler '{compiler[0]}' does not start ({error})") from error
    return next(iter(done.stdout.splitlines()), "")


def _key(source: Path, compiler: list[str]) -> str:
    """A hash of everything that the library depends on."""
    digest = hashlib.sha256()
    for part in (
        source.read_text(),
        source.with_suffix(".h").read_text(),
        *compiler,
        compiler_version(compiler),
        *FLAGS,
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def _compile(source: Path, library: Path, compiler: list[str]) -> None:
    with replacing(library) as temporary, tempfile.TemporaryFile("w+") as complaints:
        command = [*compiler, *FLAGS, "-o", str(temporary), str(source), "-lm", "-pthread"]
        try:
            done = subprocess.run(command, stdout=complaints, stderr=complaints, timeout=TIME_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompileError(f"{source}: the C compiler '{compiler[0]}' did not finish ({error})") from error
        if done.returncode != 0:
            complaints.seek(0)
            raise CompileError(f"{source}: '{shlex.join(compiler)}' failed ({_first_complaint(complaints.read())})")


def _first_complaint(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "without a message")[:300]
