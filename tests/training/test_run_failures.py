"""Whole trainings in which something is wrong: one sentence, and the weights of the last good epoch."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fleetseg.errors import DataError, FleetsegError, RecipeError, TrainingError
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.module import TrainingModule
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run

from .runs import rows, stop_at

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]


def poisoned(monkeypatch: pytest.MonkeyPatch, from_step: int) -> None:
    """Make the loss NaN from a step on."""
    original = TrainingModule._forward_loss
    calls = 0

    def loss(self: TrainingModule, images: torch.Tensor, target: torch.Tensor, *more: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = original(self, images, target, *more)
        return value * float("nan") if calls >= from_step else value

    monkeypatch.setattr(TrainingModule, "_forward_loss", loss)


def test_a_diverging_run_keeps_the_weights_of_the_last_good_epoch(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, from_step=5)
    with pytest.raises(
        TrainingError, match=r"stage network, epoch 2: the loss became nan on .*; the weights of epoch 1 are"
    ):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    network, metadata = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert metadata.provenance["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1"]


def test_weights_that_are_no_numbers_are_never_saved(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the last step may still be finite when that step ruins the weights."""
    original = TrainingModule.on_train_batch_end

    def ruin(self: TrainingModule, *arguments: Any) -> None:
        original(self, *arguments)
        if self.current_epoch == 1 and self.batches == 3:
            next(self.network.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(TrainingModule, "on_train_batch_end", ruin)
    with pytest.raises(TrainingError, match="epoch 2: a weight became infinite or no number; the weights of epoch 1"):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    assert load_checkpoint(tmp_path / "run" / "last.safetensors")[1].provenance["epoch"] == 1


@pytest.mark.parametrize("cache", [True, False])
def test_an_image_that_breaks_is_named(
    cache: bool, make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    """In the main process while caching, or in a worker."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    (data / "images" / "train" / "4.png").write_bytes(b"no picture")
    recipe = make_recipe(
        data={"workers": 1, "cache": cache}, stages=[make_stage("network", loss={"class_weights": "none"})]
    )
    with pytest.raises(FleetsegError, match=r"train/4\.png") as caught:
        Run(recipe, str(data), tmp_path / "run").execute()
    assert caught.value.exit_status == 1
    assert "\n" not in str(caught.value)


def test_a_killed_worker_is_one_sentence(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_workers() -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    stop_at(monkeypatch, TrainingModule, "training_step", 1, "before", kill_workers)
    with pytest.raises(TrainingError, match="stage network: a process that prepares images was ended from outside"):
        Run(make_recipe(data={"workers": 1}), str(tiny_data), tmp_path / "run").execute()


def test_too_little_memory_is_one_sentence(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        torch.empty(2**60)

    stop_at(monkeypatch, TrainingModule, "training_step", 2, "before", fail)
    with pytest.raises(TrainingError, match=r"does not suffice for batches of 2 images; lower stages.network.batch_"):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()


def test_a_val_split_without_labels_is_refused(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    for path in (data / "labels" / "val").iterdir():
        cv2.imwrite(str(path), np.full((32, 40), 255, np.uint8))
    recipe = make_recipe(stages=[make_stage("network", epochs=1)])
    with pytest.raises(DataError, match="the validation images have no labelled pixel"):
        Run(recipe, str(data), tmp_path / "run").execute()


def test_crops_larger_than_the_images_and_sides_that_are_no_multiple_of_8(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    augmentation = {"crop": [61, 45], "scale": [0.5, 1.0]}
    stages = [
        make_stage("encoder", part="encoder", epochs=1, augmentation=augmentation),
        make_stage("network", epochs=1, augmentation=augmentation, batch_size=50, ema=None),
    ]
    best = Run(make_recipe(stages=stages), str(tiny_data), tmp_path / "run").execute()
    assert load_checkpoint(best)[1].train_size == (61, 45)


def test_scenes_are_not_mixed_into_other_classes(make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path) -> None:
    sentence = r"data.scenes is 5, but the built-in scenes have CamVid's 11 classes .* 3 others; set data.scenes=0"
    with pytest.raises(RecipeError, match=sentence):
        Run(make_recipe(data={"scenes": 5}), str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
