"""A data set and a recipe so small that a whole training takes a second or two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run

COLOURS = np.array([(200, 60, 40), (50, 190, 60), (40, 70, 210)], np.uint8)


def write_sample(root: Path, split: str, number: int, size: tuple[int, int] = (40, 32)) -> None:
    """Four rectangles of three classes, told apart by colour, under noise; the first column is unlabelled."""
    rng = np.random.default_rng((number, len(split)))
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    for _ in range(4):
        left, top = rng.integers(0, width - 8), rng.integers(0, height - 8)
        mask[top : top + rng.integers(8, 20), left : left + rng.integers(8, 24)] = rng.integers(0, 3)
    image = np.clip(COLOURS[mask].astype(int) + rng.integers(-30, 30, (height, width, 3)), 0, 255)
    mask[:, 0] = 255
    for kind, pixels in (("images", image[..., ::-1].astype(np.uint8)), ("labels", mask)):
        folder = root / kind / split
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own data of three classes: six images to train on, two to validate."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            write_sample(root, split, number)
    (root / "classes.yaml").write_text("names: [red, green, blue]\n")
    return root


def tiny_stage(name: str, **changes: Any) -> dict[str, Any]:
    """Three steps an epoch; dropout is active in ENet, the averaged weights are kept."""
    stage = {
        "name": name,
        "epochs": 3,
        "batch_size": 2,
        "augmentation": {"crop": [32, 24], "scale": [0.7, 1.3], "flip": 0.5, "colour": 0.2},
        "optimiser": {"name": "adam", "learning_rate": 5e-3, "weight_decay": 1e-4},
        "schedule": {"name": "poly", "warmup_epochs": 1},
        "ema": 0.9,
        "validate_every": 2,
    }
    return {**stage, **changes}


def tiny_recipe(**changes: Any) -> Recipe:
    """ENet in fp32, one stage, no worker; `changes` are keys of the recipe."""
    recipe = {
        "name": "tiny",
        "network": {"name": "enet"},
        "data": {"workers": 0},
        "seed": 3,
        "precision": "fp32",
        "stages": [tiny_stage("network")],
    }
    return Recipe.model_validate({**recipe, **changes})


@pytest.fixture(scope="session")
def make_stage() -> Callable[..., dict[str, Any]]:
    """`tiny_stage`, for tests."""
    return tiny_stage


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """`tiny_recipe`, for tests."""
    return tiny_recipe


@pytest.fixture(scope="session")
def two_stages(make_recipe: Callable[..., Recipe], make_stage: Callable[..., dict[str, Any]]) -> Recipe:
    """Encoder, then the whole network, validated after epochs 2 and 3; a worker prepares the images."""
    encoder = make_stage("encoder", part="encoder", epochs=2, validate_every=1)
    return make_recipe(data={"workers": 1}, stages=[encoder, make_stage("network")])


@pytest.fixture(scope="session")
def finished(tiny_data: Path, two_stages: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run; not to be changed."""
    out = tmp_path_factory.mktemp("run") / "finished"
    assert Run(two_stages, str(tiny_data), out).execute() == out / "best.safetensors"
    return out
