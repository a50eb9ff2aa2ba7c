"""The processes that share a training: which one this is, and starting them on one machine. Needs no torch.

They find each other by the environment variables that torchrun sets, so torchrun, Ray Train and `launch` are one
case to everything that follows.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fleetseg.errors import UsageError

#: What torchrun tells each process, and all that is read of it.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Set in processes that `launch` started: they end with the one that started them.
LAUNCHED = "FLEETSEG_LAUNCHED"
#: Seconds that the other processes get to end by themselves when one has failed, and again after SIGTERM.
PATIENCE = 20.0


@dataclass(frozen=True)
class Processes:
    """One process among those that share a training."""

    #: This one's number among all, from 0; number 0 writes the files.
    rank: int = 0
    #: How many there are.
    world: int = 1
    #: How many of them are on this machine.
    local_world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return max(1, self.world // self.local_world)


#: The usual case: one process.
ALONE = Processes()


def from_environment(environment: Mapping[str, str]) -> Processes | None:
    """What torchrun or `launch` says; None where neither started this process.

    `UsageError` if a variable is no number.
    """
    if any(name not in environment for name in VARIABLES):
        return None
    try:
        rank, world, local_world = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    except ValueError as error:
        raise UsageError(f"the variables RANK, WORLD_SIZE and LOCAL_WORLD_SIZE must be numbers ({error})") from error
    return Processes(rank, world, local_world)


def check_counts(processes: Processes, devices: int | None, nodes: int | None) -> None:
    """`UsageError` unless --devices and --nodes, where given, are what the processes' starter says."""
    for option, given, found in (("--devices", devices, processes.local_world), ("--nodes", nodes, processes.nodes)):
        if given not in (None, found):
            raise UsageError(f"{option} is {given}, but torchrun started {found}; leave the option out under torchrun")


def launch(words: Sequence[str], devices: int, nodes: int = 1) -> int:
    """Run ``fleetseg WORDS`` in `devices` processes on this machine and return the exit status.

    With more than one machine the same call is made on each, and MASTER_ADDR, MASTER_PORT and NODE_RANK say how
    they meet; `UsageError` without them. One process that fails ends the others.
    """
    node, address, port = _meeting_point(nodes)
    common = {
        **os.environ,
        "WORLD_SIZE": str(devices * nodes),
        "LOCAL_WORLD_SIZE": str(devices),
        "GROUP_RANK": str(node),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        LAUNCHED: "1",
    }
    common.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    command = [sys.executable, "-m", "fleetseg", *words]
    started: list[subprocess.Popen[bytes]] = []
    with _signals_passed_on(started):
        for local in range(devices):
            place = {"RANK": str(node * devices + local), "LOCAL_RANK": str(local)}
            started.append(subprocess.Popen(command, env={**common, **place}))
        return _wait(started)


def _meeting_point(nodes: int) -> tuple[int, str, int]:
    """(number of this machine, address, port)."""
    if nodes == 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return 0, "127.0.0.1", int(probe.getsockname()[1])
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
    if missing:
        raise UsageError(
            f"--nodes {nodes}: set {', '.join(missing)} (the first machine's address, a free port there, this "
            f"machine's number from 0), or start the command by torchrun (docs/distributed.md)"
        )
    try:
        node, port = int(os.environ["NODE_RANK"]), int(os.environ["MASTER_PORT"])
    except ValueError as error:
        raise UsageError(f"NODE_RANK and MASTER_PORT must be numbers ({error})") from error
    if not 0 <= node < nodes:
        raise UsageError(f"NODE_RANK is {node}; with --nodes {nodes} it is from 0 to {nodes - 1}")
    return node, os.environ["MASTER_ADDR"], port


@contextmanager
def _signals_passed_on(started: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """A terminal sends Ctrl-C to all processes itself; SIGTERM, which only this one gets, goes on to the others."""

    def terminate(_number: int, _frame: object) -> None:
        for process in started:
            process.terminate()

    old = signal.signal(signal.SIGTERM, terminate), signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old[0])
        signal.signal(signal.SIGINT, old[1])


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """The first process's exit status, or the status of the one that failed first."""
    failed: int | None = None
    deadline = float("inf")
    while any(process.poll() is None for process in started):
        if failed is None:
            failed = next((process.returncode for process in started if process.returncode), None)
            deadline = time.monotonic() + PATIENCE if failed is not None else deadline
        elif time.monotonic() > deadline:
            _end(started)
        time.sleep(0.05)
    if failed is None:
        failed = next((process.returncode for process in started if process.returncode), 0)
    for number, process in enumerate(started):
        if process.returncode < 0:
            print(f"fleetseg: process {number} was ended by signal {-process.returncode}", file=sys.stderr)
    return failed if failed >= 0 else 1


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM, and SIGKILL for what does not heed it (a process that waits inside NCCL)."""
    for process in started:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in started:
        process.kill()


def end_with_the_starter() -> None:
    """In a process that `launch` started: SIGTERM when that one is gone, even killed (Linux)."""
    if LAUNCHED in os.environ and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
