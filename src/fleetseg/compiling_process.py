"""`fleetseg compile` as a process of its own, for hosts that want neither torch nor its memory in theirs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from fleetseg.errors import CompileError


class CompilingProcesses:
    """Starts compilations and can end them all; use it as a context manager.

    Everything they write stays in `cache`: the libraries that were built, and temporary files, which vanish.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._running: set[subprocess.Popen[str]] = set()
        self._folders: list[Path] = []
        self._ended = False
        self._lock = threading.Lock()

    def __enter__(self) -> CompilingProcesses:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            # Its C compiler too: the session is its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder for results, which vanishes at the end."""
        folder = Path(tempfile.mkdtemp(prefix="compiled-", dir=self.cache))
        with self._lock:
            self._folders.append(folder)
        return folder

    def compile(self, model: str, size: tuple[int, int], out: Path, precision: str, network: str | None = None) -> None:
        """What ``fleetseg compile`` does with these arguments; `CompileError` with its complaint if it fails.

        `network` is the FILE.py:CLASS of a user's own network.
        """
        words = [sys.executable, "-m", "fleetseg", "compile", model, "--size", f"{size[0]}x{size[1]}"]
        words += ["--out", str(out), "--precision", precision, "--json"]
        words += ["--network", network] if network else []
        # PyTorch leaves an empty folder behind wherever temporary files go.
        with tempfile.TemporaryDirectory(prefix="compiling-", dir=self.cache, ignore_cleanup_errors=True) as scratch:
            status, complaints = self._run(model, words, scratch)
        if status != 0:
            if self._ended:
                raise CompileError(f"{model}: compiling was ended")
            # Other lines are warnings of libraries.
            own = [line.removeprefix("fleetseg: ") for line in complaints.splitlines() if line.startswith("fleetseg: ")]
            reason = own[-1] if own else f"it ended with {status}"
            raise CompileError(f"it could not be compiled ({reason})")

    def _run(self, model: str, words: list[str], scratch: str) -> tuple[int, str]:
        """Exit status and complaints."""
        environment = {**os.environ, "FLEETSEG_CACHE": str(self.cache), "TMPDIR": scratch}
        with self._lock:
            if self._ended:
                raise CompileError(f"{model}: compiling was ended")
            process = subprocess.Popen(
                words,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            _, complaints = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode, complaints
