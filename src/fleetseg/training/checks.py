"""Whether a recipe fits its data and its processes."""

from __future__ import annotations

from fleetseg.data.base import Dataset
from fleetseg.errors import DataError, RecipeError, UsageError
from fleetseg.labels import CAMVID_11
from fleetseg.training.recipe import Recipe, StageSection


def check_data(recipe: Recipe, train_set: Dataset, data: str) -> None:
    """`DataError` or `RecipeError` if `recipe` cannot be trained on a data set opened as `data`."""
    labels = train_set.labels
    if len(train_set) == 0:
        raise DataError(f"{data}: the split '{train_set.split}' has no images")
    if not 2 <= labels.num_classes <= 255:
        raise DataError(f"{data}: has {labels.num_classes} classes; a network of 2 to 255 can be trained")
    if recipe.data.scenes and labels.names != CAMVID_11.names:
        raise RecipeError(
            f"data.scenes is {recipe.data.scenes}, but the built-in scenes have CamVid's 11 classes and "
            f"{data} has {labels.num_classes} others; set data.scenes=0"
        )


def check_processes(recipe: Recipe, processes: int) -> None:
    """What `check_shares` says of the recipe alone, before any process is started."""
    for stage in recipe.stages:
        _check_batch(stage, stage.batch_size, processes)


def check_shares(recipe: Recipe, data: str, train_images: int, val_images: int, processes: int) -> None:
    """`UsageError` unless every process gets an image of each batch and of the validation split."""
    for stage in recipe.stages:
        _check_batch(stage, min(stage.batch_size, train_images + scenes_of(stage, recipe)), processes)
    if val_images < processes:
        split = recipe.data.val_split
        raise UsageError(f"{data}: '{split}' has {val_images} images for {processes} processes; use fewer --devices")


def _check_batch(stage: StageSection, batch: int, processes: int) -> None:
    if batch < processes:
        raise UsageError(
            f"a batch of stage {stage.name} has {batch} images, fewer than the {processes} processes that would "
            f"share it; use fewer --devices or a larger stages.{stage.name}.batch_size"
        )


def scenes_of(stage: StageSection, recipe: Recipe) -> int:
    """How many built-in scenes each epoch of a stage mixes in."""
    if recipe.data.scenes == 0 or stage.scenes is None:
        return recipe.data.scenes
    return stage.scenes
