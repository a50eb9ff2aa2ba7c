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
from collections.abc import Mapping, Sequence
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

    `UsageError` if a variable is no number, or the numbers contradict each other.
    """
    if any(name not in environment for name in VARIABLES):
        return None
    try:
        rank, world, local_world = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    except ValueError as error:
        raise UsageError(f"the variables RANK, WORLD_SIZE and LOCAL_WORLD_SIZE must be numbers ({error})") from error
    if not (0 <= rank < world and 1 <= local_world <= world):
        raise UsageError(
            f"the variables RANK={rank}, WORLD_SIZE={world} and LOCAL_WORLD_SIZE={local_world} contradict each other; "
            f"start with torchrun, or unset them"
        )
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
    with _Group() as group:
        for local in range(devices):
            place = {"RANK": str(node * devices + local), "LOCAL_RANK": str(local)}
            group.start(command, {**common, **place})
        return group.wait()


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


class _Group:
    """Processes that end together."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.interrupted = False

    def __enter__(self) -> _Group:
        self.handlers = signal.signal(signal.SIGINT, self._interrupt), signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.handlers[0])
        signal.signal(signal.SIGTERM, self.handlers[1])

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """One more."""
        self.started.append(subprocess.Popen(command, env=environment))

    def wait(self) -> int:
        """Until all have ended: the status of the one that failed first, else 0."""
        status = 0
        while any(process.poll() is None for process in self.started):
            status = next((process.returncode for process in self.started if process.returncode), 0)
            if status or self.interrupted:
                self._end()
            time.sleep(0.05)
        status = status or next((process.returncode for process in self.started if process.returncode), 0)
        for number, process in enumerate(self.started):
            if process.returncode < 0:
                print(f"fleetseg: process {number} was ended by signal {-process.returncode}", file=sys.stderr)
        return status if status >= 0 else 1

    def _end(self) -> None:
        """By themselves, else by SIGTERM, else (a process that waits inside NCCL) by SIGKILL."""
        for force in (None, signal.SIGTERM, signal.SIGKILL):
            for process in self.started if force else []:
                process.send_signal(force or 0)
            deadline = time.monotonic() + PATIENCE
            while any(process.poll() is None for process in self.started) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _interrupt(self, _number: int, _frame: object) -> None:
        """A terminal sends Ctrl-C to the others itself; where it does not, `_end` follows."""
        self.interrupted = True

    def _terminate(self, _number: int, _frame: object) -> None:
        """Passed on; `_end` follows for those that do not hear it."""
        self.interrupted = True
        for process in self.started:
            process.terminate()


def end_with_the_starter() -> None:
    """In a process that `launch` started: SIGTERM when that one is gone, even killed (Linux)."""
    if LAUNCHED in os.environ and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
