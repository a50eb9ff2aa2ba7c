"""The recipes for the papers' data sets, each run for an epoch a stage on a small folder in the official layout."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fleetseg.errors import DataError
from fleetseg.training.opened_splits import check_apart, open_split
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run import Run


@pytest.fixture(scope="module")
def official() -> ModuleType:
    path = Path(__file__).parents[1] / "data" / "official_folders.py"
    specification = importlib.util.spec_from_file_location("official_folders", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))


#: Recipe → writer of its data.
RECIPES = {
    "espnet-cityscapes": "cityscapes",
    "enet-cityscapes": "cityscapes",
    "enet-sunrgbd": "sunrgbd",
    "espnet-voc": "voc",
}


def small(name: str, epochs: int = 1, crop: str = "[64, 32]", **settings: Any) -> Recipe:
    """The recipe with an epoch a stage, small windows and batches; all else is as packaged."""
    changes = ["data.workers=0", "precision=fp32", *(f"data.{key}={value}" for key, value in settings.items())]
    for stage in load_recipe(name).stages:
        place = f"stages.{stage.name}"
        changes += [f"{place}.epochs={epochs}", f"{place}.batch_size=2", f"{place}.augmentation.crop={crop}"]
    if load_recipe(name).data.size is not None:
        changes.append("data.size=[64, 32]")
    return load_recipe(name, changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_one_epoch(name: str, official: ModuleType, tmp_path: Path) -> None:
    root = getattr(official, RECIPES[name])(tmp_path / "set")
    if name == "espnet-voc":
        official.coco(tmp_path / "set" / "coco")
    assert Run(small(name), str(root), tmp_path / "run").execute().is_file()
    with (tmp_path / "run" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["encoder", "network"]
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert rows[-1]["miou"]


@pytest.mark.slow
@pytest.mark.shared
def test_the_loss_falls_on_biopsy_patches(shared_folder: Path, tmp_path: Path) -> None:
    recipe = small("espnet-biopsy", epochs=12, crop="[128, 128]")
    Run(recipe, str(shared_folder / "biopsy"), tmp_path / "run").execute()
    with (tmp_path / "run" / "history.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["stage"] == "encoder"]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_the_settings_are_the_papers() -> None:
    city = load_recipe("espnet-cityscapes")
    assert city.data.size == (1024, 512)
    assert load_recipe("espnet-voc").data.size == (512, 512)
    for name in ("espnet-cityscapes", "espnet-voc", "espnet-biopsy"):
        for stage in load_recipe(name).stages:
            assert (stage.optimiser.learning_rate, stage.optimiser.weight_decay) == (5e-4, 5e-4)
            assert (stage.schedule.step_epochs, stage.schedule.gamma) == (100, 0.5)
    for name in ("enet-cityscapes", "enet-sunrgbd"):
        for stage in load_recipe(name).stages:
            assert (stage.optimiser.learning_rate, stage.optimiser.weight_decay) == (5e-4, 2e-4)
            assert (stage.batch_size, stage.loss.c) == (10, 1.02)


def test_half_resolution_halves_images_and_masks(official: ModuleType, tmp_path: Path) -> None:
    root = official.cityscapes(tmp_path / "set")
    sample = open_split(load_recipe("espnet-cityscapes", ["data.size=[32, 16]"]), str(root), "val")[0]
    assert sample.image.shape == (16, 32, 3)
    assert sample.mask.shape == (16, 32)
    picture = official.picture(official.CITYSCAPES_SIZE, 3).reshape(16, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(sample.image - picture).max() <= 0.5


def test_validating_on_training_images_is_refused(official: ModuleType, tmp_path: Path) -> None:
    root = official.sunrgbd(tmp_path / "set")
    recipe = load_recipe("enet-sunrgbd", ["data.train_split=train"])
    with pytest.raises(DataError, match=r"in the split 'train' and in 'val'"):
        check_apart(open_split(recipe, str(root), "train"), open_split(recipe, str(root), "val"))
