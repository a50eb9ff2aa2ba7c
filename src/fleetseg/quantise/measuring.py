"""Accuracy and latency of exported files in their own runtimes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.data import Dataset
from fleetseg.errors import UsageError
from fleetseg.evaluation import Evaluation, evaluate
from fleetseg.quantise.calibration import Track
from fleetseg.runtime import load
from fleetseg.runtime.exported_model import ExportedModel

#: Rounds; in each, runs of a file that warm up and runs that are timed, after a pause in seconds.
_ROUNDS, _WARM_UP, _TIMED_RUNS, _PAUSE = 8, 2, 4, 0.1

#: Images on which a layer's sensitivity is measured.
SENSITIVITY_IMAGES = 4


def loaded(path: Path, threads: int | None) -> ExportedModel:
    """A file that an exporter has just written."""
    model = load(path, threads=threads)
    assert isinstance(model, ExportedModel)
    return model


def accuracy(path: Path, dataset: Dataset, threads: int | None, track: Track, what: str) -> Evaluation:
    """Over the whole data set. `UsageError` if its classes are not the file's."""
    model = loaded(path, threads)
    try:
        return evaluate(
            lambda image: model.predict(image, model.fixed_size),
            dataset,
            model.classes,
            indices=track(range(len(dataset)), what),
        )
    except UsageError as error:
        raise UsageError(f"{model.metadata.name} does not fit the data: {error}") from error


def outputs(path: Path, batches: Sequence[npt.NDArray[Any]], threads: int | None) -> list[npt.NDArray[Any]]:
    """What the file gives for what it takes, as float64: logits, or the class map."""
    model = loaded(path, threads)
    return [np.asarray(model.run(batch), np.float64) for batch in batches]


def change(found: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]], head: str) -> float:
    """Mean square of the logits' difference, in parts of their mean square; of class maps the share that differs."""
    if head == "classes":
        return float(np.mean([(one != other).mean() for one, other in zip(found, expected, strict=True)]))
    squares = [float(np.square(one - other).mean()) for one, other in zip(found, expected, strict=True)]
    scale = float(np.mean([np.square(one).mean() for one in expected]))
    return float(np.mean(squares)) / max(scale, 1e-30)


def latencies(paths: Mapping[str, Path], batch: npt.NDArray[Any], threads: int | None) -> dict[str, float]:
    """Median milliseconds of one run of each file, in rounds so that a slow moment hits all alike.

    A runtime's threads go on waiting for work for a while, at the cost of the next one's: between two files there is a
    pause, and the first runs after it do not count.
    """
    models = {name: loaded(path, threads) for name, path in paths.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_ROUNDS):
        for name, model in models.items():
            time.sleep(_PAUSE)
            for run in range(_WARM_UP + _TIMED_RUNS):
                started = time.perf_counter()
                model.run(batch)
                if run >= _WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}
