"""Training on what `fleetseg compress` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetseg.compression.removing import without_channels
from fleetseg.errors import RecipeError
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import metadata_for
from fleetseg.models.base import count_parameters
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.training.initial_channels import with_initial_channels
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run import Run
from fleetseg.training.run_folder import RunFolder

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def pruned(random_network: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ENet for CamVid's classes with half of its channels."""
    network, _ = without_channels(random_network("enet", 11), 0.5)
    path = tmp_path_factory.mktemp("pruned") / "pruned.safetensors"
    save_checkpoint(path, network, metadata_for(spec_of(network), "pruned", CAMVID_11.names, CAMVID_11.palette))
    return path


def test_the_run_keeps_the_channels(
    pruned: Path, tiny_data: Path, tmp_path: Path, make_recipe: MakeRecipe, make_stage: Callable[..., Any]
) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes(pruned.read_bytes())
    network = {"name": "enet", "options": {"regularisation": "none"}}
    recipe = make_recipe(network=network, init=str(start), stages=[make_stage("network", epochs=1, validate_every=1)])
    best = Run(recipe, str(tiny_data), tmp_path / "run").execute()
    trained, _ = load_checkpoint(best)
    original, _ = load_checkpoint(pruned)
    # Options of the recipe's own count beside them.
    assert trained.options == {**original.options, "regularisation": "none"}
    # But for the head, of three classes in place of eleven.
    head = original.fullconv.in_channels * 4 + 1
    assert count_parameters(trained) == count_parameters(original) - 8 * head
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).network.options == trained.options
    # The run goes on, or says that it is done, when the file that it started from is gone.
    start.unlink()
    assert Run(recipe, str(tiny_data), tmp_path / "run", resume=True).execute() == best


@pytest.mark.parametrize(
    "network", [{"name": "enet-no-dropout"}, {"name": "enet", "options": {"regularisation": "none"}}]
)
def test_what_a_recipe_or_its_variant_says_stays(
    network: dict[str, Any], pruned: Path, tmp_path: Path, make_recipe: MakeRecipe, make_stage: Callable[..., Any]
) -> None:
    folder, stages = RunFolder(tmp_path), [make_stage("network")]
    found = with_initial_channels(make_recipe(network=network, init=str(pruned), stages=stages), folder)
    assert found.network.name == "enet"
    assert found.network.options == {**load_checkpoint(pruned)[0].options, "regularisation": "none"}
    # Begun by it, the folder knows the channels, and is what an error is about.
    folder.recipe.write_text(found.to_yaml())
    assert with_initial_channels(make_recipe(network=network, stages=stages), folder).network == found.network
    with pytest.raises(RecipeError, match=r"recipe\.yaml: is a compressed enet, the recipe's network is espnet"):
        with_initial_channels(make_recipe(network={"name": "espnet"}, stages=stages), folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("espnet-camvid-paper", "is a compressed enet, the recipe's network is espnet; add --network enet"),
        ("enet-camvid", "whose encoder cannot be trained alone as stage encoder would; use a recipe"),
    ],
)
def test_recipes_that_do_not_fit(name: str, sentence: str, pruned: Path, tiny_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name, init=str(pruned))
    with pytest.raises(RecipeError, match=sentence):
        Run(recipe, str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
