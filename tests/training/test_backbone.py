"""A run that starts from ImageNet weights, and one that is given the wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fleetseg.errors import CheckpointError, RecipeError, UsageError
from fleetseg.models import build_network
from fleetseg.models.backbone_weights import backbones, layouts
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run import Run

NETWORK = {"name": "segnet", "options": {"width": 1 / 16}}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A vgg16_bn of a sixteenth of its width."""
    (backbone,) = backbones(build_network("segnet", 3, width=1 / 16))
    own = backbone.state_dict()
    layout = next(one for one in layouts(backbone) if one.name == "vgg16_bn")
    torch.manual_seed(8)
    tensors = {key: torch.rand_like(own[inner]) for key, inner in layout.keys.items()}
    torch.save(tensors, tmp_path / "vgg16_bn.pth")
    return tmp_path / "vgg16_bn.pth"


def recipe_with(make_recipe: Callable[..., Recipe], make_stage: Callable[..., Any], path: Path) -> Recipe:
    # So low a rate that nothing moves.
    still = {"name": "adam", "learning_rate": 1e-12, "weight_decay": 0.0}
    stage = make_stage("network", epochs=1, optimiser=still, schedule={"name": "constant"}, ema=None)
    return make_recipe(network={**NETWORK, "backbone_weights": str(path)}, stages=[stage])


def test_training_starts_from_them(
    tiny_data: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., Any],
    weights: Path,
    tmp_path: Path,
) -> None:
    best = Run(recipe_with(make_recipe, make_stage, weights), str(tiny_data), tmp_path / "run").execute()
    trained, given = load_file(best), torch.load(weights, weights_only=True)
    torch.testing.assert_close(trained["encoder.groups.0.0.weight"], given["features.0.weight"])
    torch.testing.assert_close(trained["encoder.groups.4.7.bias"], given["features.41.bias"])
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).network.backbone_weights == str(weights)


def test_a_wrong_file_leaves_no_run(
    tiny_data: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., Any],
    tmp_path: Path,
) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "wrong.pth")
    recipe = recipe_with(make_recipe, make_stage, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=r"wrong\.pth: not weights of this VGG16 .*missing: features\.0\.bias"):
        Run(recipe, str(tiny_data), tmp_path / "run")
    with pytest.raises(UsageError, match=r"nowhere\.pth: no such checkpoint file"):
        Run(recipe_with(make_recipe, make_stage, tmp_path / "nowhere.pth"), str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_without_backbone_is_refused(
    tiny_data: Path, make_recipe: Callable[..., Recipe], weights: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(network={"name": "espnet", "backbone_weights": str(weights)})
    with pytest.raises(UsageError, match="network 'espnet' has no VGG16 or ResNet backbone"):
        Run(recipe, str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_option_is_the_recipes_key() -> None:
    assert load_recipe("enet-camvid", ['network.backbone_weights="a: b.pth"']).network.backbone_weights == "a: b.pth"
    with pytest.raises(RecipeError, match="backbone_weights"):
        load_recipe("enet-camvid", ["network.backbone_weights=3"])
