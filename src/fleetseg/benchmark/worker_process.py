"""A worker as its parent sees it: started, asked, stopped between its turns, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from fleetseg.benchmark.job import Job
from fleetseg.errors import BenchmarkError

#: Seconds after which an engine that does not answer is taken to hang. Compiling takes the longest.
TIME_LIMIT = 1200.0

#: Seconds that an engine gets to end by itself.
_PARTING = 5.0


class WorkerProcess:
    """One engine in a process group of its own, so that no thread or child of it runs while others are timed."""

    def __init__(self, job: Job) -> None:
        self._log = job.own / "log.txt"
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            # Its own: what an earlier run compiled would make the first result too early.
            "TORCHINDUCTOR_CACHE_DIR": str(job.own / "inductor"),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fleetseg.benchmark.worker", job.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._received = b""

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The worker's process number, which is its group's too."""
        return self._process.pid

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """The reply to a request; `BenchmarkError` if the worker says that it failed, dies or does not answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise BenchmarkError(self._death()) from None
        reply: dict[str, Any] = json.loads(self._line())
        if "error" in reply:
            raise BenchmarkError(reply["error"])
        return reply

    def stop(self) -> None:
        """Let no thread of it run until `wake`; returns when that is so."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def wake(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, stopped or not."""
        self.wake()
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._ended(_PARTING)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        # Nobody else can have the group's number: the process, even ended, is collected last of all, in `close`.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _ended(self, seconds: float) -> str:
        """How the process ended, or "" if it did not within that time."""
        deadline = time.monotonic() + seconds
        while self._process.returncode is None:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if found is not None:
                return f"{'with status' if found.si_code == os.CLD_EXITED else 'by signal'} {found.si_status}"
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.01)
        return f"with status {self._process.returncode}"

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + TIME_LIMIT
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._received:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise BenchmarkError(f"gave no answer for {TIME_LIMIT:.0f} seconds")
            read = os.read(descriptor, 1 << 16)
            if not read:
                raise BenchmarkError(self._death())
            self._received += read
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _death(self) -> str:
        cause = self._ended(_PARTING)
        if not cause:
            return "its process stopped answering"
        last = _last_line(self._log)
        return f"its process ended {cause}" + (f" ({last})" if last else "")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
