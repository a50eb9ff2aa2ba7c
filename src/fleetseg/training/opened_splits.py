"""The splits that a recipe trains on and validates."""

from __future__ import annotations

from fleetseg.data import Dataset, open_dataset
from fleetseg.data.joined import files_of
from fleetseg.data.resized import Resized
from fleetseg.errors import DataError
from fleetseg.training.recipe import Recipe


def open_split(recipe: Recipe, data: str, split: str) -> Dataset:
    """A split at the recipe's size; raises what `open_dataset` raises."""
    dataset = open_dataset(data, split)
    return dataset if recipe.data.size is None else Resized(dataset, recipe.data.size)


def check_apart(train_set: Dataset, val_set: Dataset) -> None:
    """`DataError` naming an image that is in both splits: validating on it would measure nothing."""
    if train_set.split == val_set.split:
        return  # asked for: whoever overfits a few images on purpose sees their mIoU
    trained = {files_of(train_set, index)[:1] for index in range(len(train_set))}
    for index in range(len(val_set)):
        files = files_of(val_set, index)[:1]
        if files and files in trained:
            raise DataError(
                f"{files[0]}: the image is in the split '{train_set.split}' and in '{val_set.split}', so validation "
                f"would measure what was trained on; another data.val_split is needed"
            )
