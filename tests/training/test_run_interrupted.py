"""Whole trainings that are stopped go on to the same weights; what cannot go on says why."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fleetseg.errors import CheckpointError, UsageError
from fleetseg.training.epoch_end import EpochEnd
from fleetseg.training.module import TrainingModule
from fleetseg.training.recipe import Recipe
from fleetseg.training.resume_point import ResumePointIO
from fleetseg.training.run import Run

from .runs import power_cut, same_results, stop_at

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("owner", "method", "call", "when"),
    [
        # In the first epoch: nothing is there yet.
        pytest.param(TrainingModule, "training_step", 2, "before", marks=pytest.mark.slow),
        (ResumePointIO, "save_checkpoint", 2, "before"),  # weights of the encoder's last epoch saved, state not
        (ResumePointIO, "save_checkpoint", 2, "after"),  # the encoder is through but not declared finished
        (TrainingModule, "training_step", 11, "after"),  # in the second stage's second epoch
        # Validated, nothing saved.
        pytest.param(EpochEnd, "on_train_epoch_end", 4, "before", marks=pytest.mark.slow),
        (ResumePointIO, "save_checkpoint", 4, "before"),  # best weights saved, state not
        (ResumePointIO, "save_checkpoint", 5, "after"),  # all epochs done, final weights not written
    ],
)
def test_stopped_anywhere_a_run_ends_with_the_same_weights(
    owner: type,
    method: str,
    call: int,
    when: str,
    finished: Path,
    two_stages: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, owner, method, call, when, power_cut)
        with pytest.raises(KeyboardInterrupt):
            Run(two_stages, str(tiny_data), tmp_path / "run").execute()
    Run(two_stages, str(tiny_data), tmp_path / "run", resume=True).execute()
    same_results(finished, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_and_leave_the_process_as_it_was(
    number: signal.Signals,
    two_stages: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop_at(monkeypatch, TrainingModule, "training_step", 2, "before", lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        Run(two_stages, str(tiny_data), tmp_path / "run").execute()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_resuming_a_finished_run_changes_nothing(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    assert Run(two_stages, str(tiny_data), finished, resume=True).execute() == finished / "best.safetensors"
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


def test_resume_removes_what_a_kill_left_half_written(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    leftovers = [finished / ".best.1a2b3c4d.tmp.safetensors", finished / "stages" / ".network.5e6f.tmp.ckpt"]
    for path in leftovers:
        path.write_bytes(b"half")
    Run(two_stages, str(tiny_data), finished, resume=True)
    assert not any(path.exists() for path in leftovers)


def test_resume_where_nothing_is_yet_begins(two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    """A run may be killed before its first file is written."""
    Run(two_stages, str(tiny_data), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "recipe.yaml").is_file()


def test_a_failed_save_keeps_the_resume_point_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stage.ckpt"
    state = {"loops": {"fit_loop": {}}, "value": torch.ones(3)}
    ResumePointIO().save_checkpoint(state, path)

    def half(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(KeyboardInterrupt):
            ResumePointIO().save_checkpoint({"value": torch.zeros(3)}, path)
    assert torch.equal(ResumePointIO().load_checkpoint(path)["value"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_a_broken_resume_point_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stage.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"stage.ckpt: not a complete resume point \(.*\); delete it") as caught:
        ResumePointIO().load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_hostile_resume_point_runs_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"loops": {"fit_loop": Hostile()}}, tmp_path / "stage.ckpt")
    with pytest.raises(CheckpointError):
        ResumePointIO().load_checkpoint(tmp_path / "stage.ckpt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 9}, r"started with seed = 3, not 9; resume with its own recipe: fleetseg train .*recipe.yaml"),
        ({"network": {"name": "espnet"}}, r"started with network.name = 'enet', not 'espnet'"),
    ],
)
def test_resume_with_another_recipe(
    changes: dict[str, Any], sentence: str, finished: Path, two_stages: Recipe, tiny_data: Path
) -> None:
    other = Recipe.model_validate({**two_stages.model_dump(), **changes})
    with pytest.raises(UsageError, match=sentence):
        Run(other, str(tiny_data), finished, resume=True)


def test_resume_with_another_stage(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    tree = two_stages.model_dump()
    tree["stages"][1]["schedule"]["power"] = 2.0
    with pytest.raises(UsageError, match=r"started with stages.1.schedule.power = 0.9, not 2.0"):
        Run(Recipe.model_validate(tree), str(tiny_data), finished, resume=True)
    tree["stages"] = tree["stages"][1:]
    with pytest.raises(UsageError, match="the number of stages = 2, not 1"):
        Run(Recipe.model_validate(tree), str(tiny_data), finished, resume=True)


def test_resume_on_other_data(finished: Path, two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "moved"))
    Run(two_stages, str(data), finished, resume=True)  # the same data elsewhere are no other data
    for folder in ("images", "labels"):
        (data / folder / "train" / "5.png").unlink()
    with pytest.raises(UsageError, match=r"with train_images = 6, but .*moved has 5; resume with the same data"):
        Run(two_stages, str(data), finished, resume=True)


def test_a_run_is_not_begun_twice_in_one_folder(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already; add --resume or choose another --out"):
        Run(two_stages, str(tiny_data), finished)


def test_files_of_some_other_run_are_not_taken_over(two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"old")
    with pytest.raises(UsageError, match=r"holds best.safetensors but no recipe.yaml"):
        Run(two_stages, str(tiny_data), tmp_path)
