"""What a recipe asks for beyond the data, checked and opened before a run writes anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
import torch

from fleetseg.data.base import Dataset
from fleetseg.data.class_weights import ClassStatistics
from fleetseg.errors import RecipeError
from fleetseg.labels import LabelSet
from fleetseg.models import build_encoder, build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.training.freezing import freeze
from fleetseg.training.initial_weights import InitialWeights
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.recipe_distillation import SELF
from fleetseg.training.teacher import TeacherLogits, open_teacher


def fresh_network(recipe: Recipe, stage: StageSection, num_classes: int) -> SegmentationNetwork:
    """The network that `stage` trains, with new weights."""
    network = build_network(recipe.network.name, num_classes, **recipe.network.options)
    return build_encoder(network) if stage.part == "encoder" else network


def check_stages(recipe: Recipe, labels: LabelSet) -> None:
    """`RecipeError` for a list of class weights of another length and for patterns that freeze nothing or all."""
    for stage in recipe.stages:
        weights = stage.loss.class_weights
        if isinstance(weights, tuple) and len(weights) != labels.num_classes:
            raise RecipeError(
                f"stages.{stage.name}.loss.class_weights has {len(weights)} numbers, but the data have "
                f"{labels.num_classes} classes: {', '.join(labels.names)}"
            )
        if stage.freeze:
            with torch.device("meta"):
                network = fresh_network(recipe, stage, labels.num_classes)
            freeze(network, stage.freeze, stage.name)


def open_teachers(stages: Iterable[StageSection], labels: LabelSet) -> dict[str, TeacherLogits]:
    """Stage name → its teacher, where it has one; the errors of `open_teacher`."""
    return {
        stage.name: open_teacher(stage.distillation.teachers, labels.names, stage.augmentation.crop)
        for stage in stages
        if stage.distillation is not None and SELF not in stage.distillation.teachers
    }


def read_initial_weights(recipe: Recipe, labels: LabelSet) -> InitialWeights | None:
    """What `init` names, tried on the network of the last stage; errors as `InitialWeights`."""
    if recipe.init is None:
        return None
    found = InitialWeights.read(recipe.init)
    network = fresh_network(recipe, recipe.stages[-1], labels.num_classes)
    found.copy_into(network, labels.names, recipe.normalisation)
    return found


def say(sentence: str) -> None:
    """Print what is worth knowing to stderr."""
    print(f"fleetseg: {sentence}", file=sys.stderr)


def absent_classes(statistics: ClassStatistics, train_set: Dataset) -> str | None:
    """A sentence about the classes that have no pixel to learn from."""
    absent = [train_set.labels.names[index] for index in np.flatnonzero(statistics.pixels == 0)]
    if not absent:
        return None
    return (
        f"no pixel of the split '{train_set.split}' is {' or '.join(absent)}, so this cannot be learnt; training goes "
        f"on without"
    )


def large_crop(stage: StageSection, train_set: Dataset) -> str | None:
    """A sentence about a crop that is larger than the first image at the largest scale."""
    height, width = train_set[0].image.shape[:2]
    largest = stage.augmentation.scale[1]
    crop = stage.augmentation.crop
    if crop[0] <= width * largest and crop[1] <= height * largest:
        return None
    return (
        f"stage {stage.name}: the crop of {crop[0]}×{crop[1]} is larger than the images, {width}×{height} at a scale "
        f"of up to {largest:g}; beyond them it is unlabelled"
    )
