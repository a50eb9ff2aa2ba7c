"""What the files of a run's folder say about it, while it trains too. Needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetseg.errors import FleetsegError, TrainingError, UsageError
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run_folder import RunFolder


@dataclass(frozen=True)
class Epoch:
    """A row of ``history.csv``."""

    stage: str
    #: Within the stage, from 1.
    number: int
    #: Over all stages, from 1.
    overall: int
    loss: float
    #: Percent; None where it was not measured.
    miou: float | None
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class RunSummary:
    """A run and how far it is."""

    folder: Path
    recipe: Recipe
    epochs: tuple[Epoch, ...]

    @cached_property
    def best(self) -> Epoch | None:
        """The epoch with the best validation mIoU of the stages that train the whole network."""
        whole = {stage.name for stage in self.recipe.stages if stage.part == "network"}
        scored = [epoch for epoch in self.epochs if epoch.miou is not None and epoch.stage in whole]
        return max(scored, key=lambda epoch: epoch.miou or 0.0, default=None)

    @property
    def planned_epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.recipe.stages)

    @property
    def hours(self) -> float:
        """Of all epochs that are kept, validation included."""
        return sum(epoch.seconds for epoch in self.epochs) / 3600

    @property
    def finished(self) -> bool:
        """Whether the last stage ended."""
        return RunFolder(self.folder).finished(self.recipe.stages[-1]).is_file()


def read_run(folder: Path) -> RunSummary:
    """`UsageError` if the folder holds no run, `TrainingError` if its recipe or history is broken."""
    files = RunFolder(folder)
    if not files.recipe.is_file():
        raise UsageError(f"{folder}: is no folder of a training run; it has no recipe.yaml")
    try:
        recipe = load_recipe(str(files.recipe))
    except FleetsegError as error:
        raise TrainingError(str(error)) from error
    return RunSummary(folder, recipe, _epochs(files.history))


def find_runs(root: Path) -> tuple[list[RunSummary], list[TrainingError]]:
    """The run in `root`, or all runs in folders below it, by name; and why others cannot be read.

    `UsageError` if there is none of either.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder")
    folders = sorted(path.parent for path in root.rglob("recipe.yaml") if (path.parent / "data.json").is_file())
    if not folders:
        raise UsageError(f"{root}: holds no training run; fleetseg train RECIPE --out {root / 'NAME'} makes one")
    runs, broken = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except TrainingError as error:
            broken.append(error)
    return runs, broken


def _epochs(path: Path) -> tuple[Epoch, ...]:
    if not path.is_file():
        return ()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(_epoch(row, overall) for overall, row in enumerate(csv.DictReader(file), start=1))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: is not the history of a run ({type(error).__name__}: {error})") from error


def _epoch(row: Mapping[str, str], overall: int) -> Epoch:
    return Epoch(
        stage=row["stage"],
        number=int(row["epoch"]),
        overall=overall,
        loss=float(row["loss"]),
        miou=float(row["miou"]) if row["miou"] else None,
        learning_rate=float(row["learning_rate"]),
        images_per_second=float(row["images_per_second"]),
        seconds=float(row["seconds"]),
    )


def differences(runs: Iterable[RunSummary]) -> list[dict[str, Any]]:
    """For each run the recipe keys, dotted, in which not all runs agree, with its own values (None: absent)."""
    flat = [dict(_flatten(run.recipe.model_dump(mode="json"))) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one if key not in ("name", "licence"))
    differing = [key for key in keys if any(one.get(key) != flat[0].get(key) for one in flat)]
    return [{key: one.get(key) for key in differing} for one in flat]


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys; a stage goes by its name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            inside = {key: inner for key, inner in item.items() if key != "name"}
            yield from _flatten(inside, f"{prefix}.{item['name']}")
    else:
        yield prefix, value
