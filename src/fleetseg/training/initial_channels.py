"""Training on what `fleetseg compress` wrote: the network gets the channels of the file that it starts from."""

from __future__ import annotations

from fleetseg.compilation import read_network
from fleetseg.errors import FleetsegError, RecipeError
from fleetseg.metadata import NetworkSpec
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run_folder import RunFolder
from fleetseg.variants import is_users, resolved, short_name, split_options


def with_initial_channels(recipe: Recipe, folder: RunFolder) -> Recipe:
    """`recipe`, its network as narrow as that of its `init`, or of the run that was begun in `folder`.

    What the recipe, or the variant that it names, says itself, such as dropout, stays. `RecipeError` if the recipe's
    network is another one, or if a stage trains the encoder alone.
    """
    narrower, source = _begun(folder), str(folder.recipe)
    if narrower is None:
        narrower, source = _initial(recipe), f"init {recipe.init}"
    if narrower is None or split_options(recipe.network.options)[1]:
        return recipe
    own, options = resolved(recipe.network.name, recipe.network.options)
    if _rebuilt_name(own) != _rebuilt_name(narrower.name):
        raise RecipeError(
            f"{source}: is a compressed {narrower.name}, the recipe's network is {recipe.network.name}; "
            f"add --network {narrower.name}"
        )
    alone = next((stage.name for stage in recipe.stages if stage.part == "encoder"), None)
    if alone is not None:
        raise RecipeError(
            f"{source}: is a compressed {narrower.name}, whose encoder cannot be trained alone as stage "
            f"{alone} would; use a recipe that trains the whole network, such as pruned"
        )
    # The recipe's name: that of a user's own network has its file's path, which the weights do not tell.
    section = recipe.network.model_copy(update={"name": own, "options": {**narrower.options, **options}})
    return recipe.model_copy(update={"network": section})


def _rebuilt_name(name: str) -> str:
    """What a file of weights calls the network of that name."""
    return short_name(name) if is_users(name) else resolved(name, {})[0]


def _begun(folder: RunFolder) -> NetworkSpec | None:
    """The network of a run's own recipe, if it is narrower: the file that it started from may be gone."""
    if not folder.recipe.exists():
        return None
    try:
        section = load_recipe(str(folder.recipe)).network
    except FleetsegError:
        return None  # opening the folder says what is wrong with it
    return _narrower(NetworkSpec(name=section.name, num_classes=2, options=section.options))


def _initial(recipe: Recipe) -> NetworkSpec | None:
    if recipe.init is None:
        return None
    try:
        return _narrower(read_network(recipe.init)[1].network)
    except FleetsegError:
        return None  # reading the weights says what is wrong with them


def _narrower(spec: NetworkSpec) -> NetworkSpec | None:
    return spec if split_options(spec.options)[1] else None
