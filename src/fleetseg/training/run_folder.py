"""The folder of a training run: its files, and who may continue in it. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleetseg.atomic import check_writable, write_text
from fleetseg.data.base import Dataset
from fleetseg.data.opening import layout_of
from fleetseg.errors import FleetsegError, TrainingError, UsageError
from fleetseg.training.folder_lock import FolderLock
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.recipe_file import load_recipe


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on: resuming on other data is refused."""

    #: As given to --data; a folder absolute.
    data: str
    train_images: int
    val_images: int
    classes: list[str]

    @classmethod
    def of(cls, data: str, train_set: Dataset, val_set: Dataset) -> DataRecord:
        """The record of the two splits of `data`."""
        place = data if layout_of(data) == "scenes" else str(Path(data).resolve())
        return cls(place, len(train_set), len(val_set), list(train_set.labels.names))


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The complete recipe; resuming with another one is refused."""
        return self.root / "recipe.yaml"

    @property
    def data(self) -> Path:
        """The `DataRecord` as JSON."""
        return self.root / "data.json"

    @property
    def history(self) -> Path:
        """A row an epoch."""
        return self.root / "history.csv"

    @property
    def best(self) -> Path:
        """The weights with the best validation mIoU of all whole-network stages."""
        return self.root / "best.safetensors"

    @property
    def last(self) -> Path:
        """The newest weights."""
        return self.root / "last.safetensors"

    @property
    def failed_batch(self) -> Path:
        """The batch whose loss was no number."""
        return self.root / "failed-batch.npz"

    def resume_point(self, stage: StageSection) -> Path:
        """Lightning's state at the newest epoch boundary of a stage."""
        return self.root / "stages" / f"{stage.name}.ckpt"

    def finished(self, stage: StageSection) -> Path:
        """A completed stage's final weights, which the next stage starts from."""
        return self.root / "stages" / f"{stage.name}.safetensors"

    def open(self, recipe: Recipe, data: DataRecord, resume: bool) -> FolderLock:
        """Make the folder, or check that it holds this very run; it is this process's until the lock is released.

        Raises `UsageError` if it holds a run and `resume` is false, if a live process trains in it, if the run has
        another recipe or other data, or if files of a run lie there without a recipe; `OutputError` if it cannot be
        written.
        """
        if self.recipe.exists() and not resume:
            raise UsageError(f"{self.root}: holds a run already; add --resume or choose another --out")
        if not self.recipe.exists():
            self._refuse_strange_files()
            check_writable(self.root)
        lock = FolderLock(self.root / ".lock")
        if not self.recipe.exists():
            write_text(self.recipe, recipe.to_yaml())
        else:
            self._check_recipe(recipe)
            self._check_data(data)
            self._remove_temporary_files()
        write_text(self.data, json.dumps(asdict(data), indent=2) + "\n")
        return lock

    def recorded_data(self) -> DataRecord | None:
        """What the run was trained on; None before it began. `TrainingError` if the record is broken."""
        if not self.data.is_file():
            return None
        try:
            return DataRecord(**json.loads(self.data.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{self.data}: not a run's record of its data ({error}); delete it, and give --data DIR"
            ) from error

    def _refuse_strange_files(self) -> None:
        for path in (self.best, self.last, self.history, self.root / "stages"):
            if path.exists():
                raise UsageError(f"{self.root}: holds {path.name} but no recipe.yaml; choose an empty folder as --out")

    def _check_recipe(self, recipe: Recipe) -> None:
        try:
            started = load_recipe(str(self.recipe))
        except FleetsegError as error:
            raise TrainingError(f"the run cannot be resumed: {error}") from error
        old_keys, new_keys = (one.model_dump(mode="json") for one in (started, recipe))
        difference = next(differing_keys(old_keys, new_keys), None)
        if difference is not None:
            key, old, new = difference
            raise UsageError(
                f"{self.recipe}: the run was started with {key} = {old!r}, not {new!r}; resume with its own "
                f"recipe: fleetseg train {self.recipe} --out {self.root} --resume"
            )

    def _check_data(self, data: DataRecord) -> None:
        started = self.recorded_data()
        if started is None:
            return
        pairs = zip(asdict(started).items(), asdict(data).values(), strict=True)
        for (what, old), new in pairs:
            # The folder may have been moved.
            if what != "data" and old != new:
                raise UsageError(
                    f"{self.root}: the run was started on {started.data} with {what} = {old}, but "
                    f"{data.data} has {new}; resume with the same data"
                )

    def _remove_temporary_files(self) -> None:
        """What a kill in the middle of writing left behind (see `atomic.replacing`)."""
        for folder in (self.root, self.root / "stages"):
            for path in folder.glob(".*.tmp*"):
                path.unlink(missing_ok=True)


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) for every difference; stages are numbered."""
    for key in [*old, *(key for key in new if key not in old)]:
        yield from _differing(f"{prefix}{key}", old.get(key), new.get(key))


def _differing(key: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from differing_keys(old, new, f"{key}.")
    elif key == "stages" and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differing(f"{key}.{index}", one, other)
    elif key == "stages":
        yield "the number of stages", len(old), len(new)
    else:
        yield key, old, new
