"""Latency of the exported files that `export_matrix.py --keep DIR` left in DIR; see there for the command.

Every file runs in a process of its own that is stopped while another's turn is. The files of one network take turns
beside the network in PyTorch, float32. What is timed goes from a uint8 image to logits.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fleetseg.benchmark.job import IMAGE, Job
from fleetseg.benchmark.record import percentiles
from fleetseg.benchmark.rounds import turns
from fleetseg.benchmark.worker_process import WorkerProcess
from fleetseg.errors import BenchmarkError, UsageError
from fleetseg.exporters.formats import FORMATS, Format
from fleetseg.exporting import scene
from fleetseg.runtime.threads import processors

#: Untimed and timed runs of a turn, and rounds.
WARM_UP, TIMED, ROUNDS = 2, 2, 10

#: The row that every latency of a network is compared with; its file is the network's checkpoint.
YARDSTICK = "PyTorch"


def checkpoint_path(keep: Path, network: str) -> Path:
    """Where a network's weights lie beside its files."""
    return keep / f"{network}.safetensors"


def file_path(keep: Path, network: str, item: Format, precision: str) -> Path:
    """Where a row's file lies, in a folder of its own."""
    return keep / f"{network}-{item.name}-{precision}" / f"{network}{item.suffix}"


def add_latencies(
    rows: dict[str, dict[str, Any]], keep: Path, networks: Sequence[str], formats: Sequence[str], threads: int
) -> Iterator[str]:
    """Set `latency_ms` of the rows of these networks and formats whose files and runtimes are here.

    Each gets, under the number of threads, its median and 90th percentile, and PyTorch's median in the same rounds.
    Yields a network's name when its rows are done. `UsageError` if there is nothing to time.
    """
    done = 0
    for network in networks:
        size, files = _files(rows, keep, network, formats, threads)
        if not files:
            continue
        done += len(files)
        files[YARDSTICK] = checkpoint_path(keep, network)
        if not files[YARDSTICK].is_file():
            raise UsageError(f"{files[YARDSTICK]}: the network of the files beside it is missing; export them again")
        times = timed(files, size, threads)
        yardstick = percentiles(times.pop(YARDSTICK))[0]
        for key, milliseconds in times.items():
            median, p90, _ = percentiles(milliseconds)
            found = {"median": median, "p90": p90, "pytorch": yardstick}
            latencies = rows[key].setdefault("latency_ms", {})
            latencies[str(threads)] = {name: round(value, 3) for name, value in found.items()}
        yield network
    if not done:
        raise UsageError(f"--keep {keep}: holds no file of these rows whose runtime is installed")


def _files(
    rows: Mapping[str, Mapping[str, Any]], keep: Path, network: str, formats: Sequence[str], threads: int
) -> tuple[tuple[int, int], dict[str, Path]]:
    """The size of a network's rows, and the file of each that can run here."""
    size, found = (0, 0), {}
    for key, row in rows.items():
        name, word, precision = key.split()
        item = FORMATS[word]
        if name != network or "error" in row or row["agreement"] is None or (formats and word not in formats):
            continue
        # ExecuTorch's Python runtime cannot be told: it takes all processors.
        cannot = item.missing_packages() or (word == "executorch" and threads != processors())
        path = file_path(keep, network, item, precision)
        if not cannot and path.exists():
            size, found[key] = tuple(row["form"]["size"]), path
    return size, found


def timed(files: Mapping[str, Path], size: tuple[int, int], threads: int) -> dict[str, list[float]]:
    """Milliseconds of every timed run of each file.

    A file that cannot be loaded is told and left out. `BenchmarkError` if it is the yardstick, or if one fails later.
    """
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder, ExitStack() as stack:
        np.save(Path(folder) / IMAGE, scene(size))
        workers = {}
        for key, path in files.items():
            job = Job(folder, "file", key.replace(" ", "-"), threads)
            worker = stack.enter_context(WorkerProcess(job))
            try:
                worker.ask("load", form=os.fspath(path.absolute()))
            except BenchmarkError as error:
                if key == YARDSTICK:
                    raise
                print(f"{key}: {error}", file=sys.stderr)
                worker.close()
                continue
            worker.stop()
            workers[key] = worker
        keys = list(workers)
        for turn in turns(len(keys), TIMED * ROUNDS, ROUNDS):
            worker = workers[keys[turn.engine]]
            worker.wake()
            reply = worker.ask("run", warm_up=WARM_UP, trials=turn.trials)
            times.setdefault(keys[turn.engine], []).extend(reply["milliseconds"])
            worker.stop()
    return times
