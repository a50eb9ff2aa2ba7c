"""The files of weights that a run writes: each rebuilds its own network and says where it comes from."""

from __future__ import annotations

import platform
import time
from typing import Any

import torch

import fleetseg
from fleetseg.data.base import Dataset
from fleetseg.metadata import ModelMetadata
from fleetseg.metrics import Scores
from fleetseg.models import network_entry
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.run_folder import RunFolder


class SavedWeights:
    """The best and the newest weights of a run, and the last ones of each stage."""

    def __init__(self, folder: RunFolder, recipe: Recipe, train_set: Dataset) -> None:
        """Those that `folder` holds already go on to count; `CheckpointError` if the best ones are broken."""
        self.folder = folder
        self.recipe = recipe
        self.data, self.labels = train_set.name, train_set.labels
        #: Validation mIoU of the best ones, 0 to 1; -1 before there are any.
        self.best_miou = self._best_so_far()

    def _best_so_far(self) -> float:
        if not self.folder.best.exists():
            return -1.0
        return float(load_checkpoint(self.folder.best)[1].provenance.get("val_miou", -1.0))

    def save(self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None) -> None:
        """After each epoch: as the newest, and as the best if they are; `OutputError` if that is impossible."""
        metadata = self._metadata(network, stage, epoch, scores)
        save_checkpoint(self.folder.last, network, metadata)
        whole = network.registered_name == network_entry(self.recipe.network.name).name
        if scores is not None and whole and scores.miou > self.best_miou:
            self.best_miou = scores.miou
            save_checkpoint(self.folder.best, network, metadata)

    def finish(self, network: SegmentationNetwork, stage: StageSection, epochs: int) -> None:
        """At a stage's end, after so many epochs: what the next one starts from; `OutputError` if that fails."""
        metadata = self._metadata(network, stage.name, epochs, None)
        save_checkpoint(self.folder.finished(stage), network, metadata)

    def _metadata(self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None) -> ModelMetadata:
        provenance: dict[str, Any] = {
            "fleetseg": fleetseg.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "finished": time.strftime("%Y-%m-%d", time.gmtime()),
            "data": self.data,
            "stage": stage,
            "epoch": epoch,
            "recipe": self.recipe.model_dump(mode="json"),
        }
        if scores is not None:
            provenance["val_miou"] = scores.miou
        return ModelMetadata(
            name=self.recipe.name,
            network=spec_of(network),
            classes=self.labels.names,
            palette=self.labels.palette,
            normalisation=self.recipe.normalisation,
            train_size=self.recipe.stages[-1].augmentation.crop,
            licence=self.recipe.licence,
            provenance=provenance,
        )
