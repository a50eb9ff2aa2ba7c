"""Running a recipe: stage after stage, each resumable, weights passed on."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import fleetseg
from fleetseg.data import open_dataset
from fleetseg.data.base import Dataset
from fleetseg.data.class_weights import ClassStatistics, class_statistics, class_weights
from fleetseg.data.transforms import Augmentation
from fleetseg.errors import DataError, RecipeError, UsageError
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import ModelMetadata
from fleetseg.metrics import Scores
from fleetseg.models import build_encoder, build_network, network_entry
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.training.allocator import keep_freed_memory
from fleetseg.training.collectives import SharedStatistics, broadcast, wait_for_all
from fleetseg.training.epoch_end import EpochClock, EpochEnd, ValidationTurns, Watch
from fleetseg.training.failures import interruptions, sentences_for_torch
from fleetseg.training.fixed_images import FixedImages
from fleetseg.training.history import History
from fleetseg.training.loader import EpochSampler, Item, TrainingSamples, training_loader, validation_loader
from fleetseg.training.module import TrainingModule
from fleetseg.training.precision import choose_precision
from fleetseg.training.processes import ALONE, Processes
from fleetseg.training.progress import LiveProgress, track
from fleetseg.training.quiet import quiet_libraries
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.run_folder import DataRecord, RunFolder
from fleetseg.training.samples import CachedSamples, cached_if_it_fits
from fleetseg.training.trainer import make_trainer


class Run:
    """One training run in one folder."""

    def __init__(
        self, recipe: Recipe, data: str, out: Path, resume: bool = False, processes: Processes = ALONE
    ) -> None:
        """Check everything that can be checked, then make or reopen the folder.

        Of several processes, which must have `joined`, the first alone writes.
        Raises the errors of `open_dataset`, `check_data` and `RunFolder.open`, which alone writes.
        """
        self.recipe = recipe
        self.processes = processes
        if not processes.first:
            wait_for_all(processes)  # what is wrong, the first one says
        self.train_set = open_dataset(data, "train")
        self.val_set = open_dataset(data, "val")
        check_data(recipe, self.train_set, data)
        self.folder = RunFolder(out)
        if processes.first:
            check_shares(recipe, data, len(self.train_set), len(self.val_set), processes.world)
            self.folder.open(recipe, DataRecord.of(data, self.train_set, self.val_set), resume)
            wait_for_all(processes)
        self.history = History(self.folder.history)
        self.best_miou = self._best_so_far()
        self._statistics: ClassStatistics | None = None
        #: Called in the first process after each epoch that was validated, when all of it is saved; may raise.
        self.watch: Watch | None = None

    def _best_so_far(self) -> float:
        if not self.folder.best.exists():
            return -1.0
        return float(load_checkpoint(self.folder.best)[1].provenance.get("val_miou", -1.0))

    def execute(self) -> Path:
        """Train what is not trained yet; returns the path of the best weights.

        Raises `KeyboardInterrupt` after Ctrl-C and SIGTERM: a run with `resume` then continues after the last
        whole epoch, as it does after a kill.
        """
        with quiet_libraries():
            keep_freed_memory()
            done = [stage for stage in self.recipe.stages if self.folder.finished(stage).exists()]
            previous = load_checkpoint(self.folder.finished(done[-1]))[0] if done else None
            if len(done) < len(self.recipe.stages):
                self._cache_samples()
            for index in range(len(done), len(self.recipe.stages)):
                previous = self._run_stage(index, self.recipe.stages[index], previous)
        return self.folder.best

    def _cache_samples(self) -> None:
        if not self.recipe.data.cache:
            return
        share = 0.5 / self.processes.local_world
        self.train_set = cached_if_it_fits(self.train_set, share)
        if isinstance(self.train_set, CachedSamples):
            self.train_set.fill(track)
        # After the training images have taken their memory.
        self.val_set = cached_if_it_fits(self.val_set, share)

    def _run_stage(self, index: int, stage: StageSection, previous: SegmentationNetwork | None) -> SegmentationNetwork:
        seed = self.recipe.seed * 1000 + index
        pl.seed_everything(seed, verbose=False)
        network = self._build(stage, previous)
        sampler_seed = (self.recipe.seed, index)
        loader = self._training_loader(stage, sampler_seed)
        module = TrainingModule(
            network,
            stage,
            self.recipe.normalisation,
            self._class_weights(stage),
            steps_per_epoch=len(loader),
            seed=seed,
            precision=choose_precision(self.recipe),
            processes=self.processes,
        )
        self._fit(stage, module, loader)
        final = module.best_network
        if self.processes.first:
            metadata = self._metadata(final, stage.name, stage.epochs, None)
            save_checkpoint(self.folder.finished(stage), final, metadata)
        return final

    def _fit(self, stage: StageSection, module: TrainingModule, loader: DataLoader[Item]) -> None:
        assert isinstance(loader.sampler, EpochSampler)
        resume_point = self.folder.resume_point(stage)
        trainer = make_trainer(stage, self.folder.root, self._callbacks(stage, loader.sampler), self.processes)
        start = str(resume_point) if resume_point.exists() else None
        with interruptions(), sentences_for_torch(stage):
            trainer.fit(module, loader, validation_loader(self.val_set, self.processes), ckpt_path=start)
        if trainer.interrupted:
            raise KeyboardInterrupt

    def _callbacks(self, stage: StageSection, sampler: EpochSampler) -> list[pl.Callback]:
        clock = EpochClock()
        names = self.val_set.labels.names
        resume_point = self.folder.resume_point(stage)
        callbacks: list[pl.Callback] = [clock, ValidationTurns(stage.validate_every, stage.epochs)]
        if self.processes.world > 1:
            callbacks.append(SharedStatistics(self.processes))
        if self.processes.first:
            # The pictures come before the clock, which counts them as validation.
            callbacks = [FixedImages(self.val_set), *callbacks, LiveProgress(stage.name, stage.epochs, clock)]
        return [*callbacks, EpochEnd(resume_point, self.history, self._save, clock, sampler, names, self.watch)]

    def _build(self, stage: StageSection, previous: SegmentationNetwork | None) -> SegmentationNetwork:
        section = self.recipe.network
        network = build_network(section.name, self.train_set.labels.num_classes, **section.options)
        if stage.part == "encoder":
            network = build_encoder(network)
        if previous is None:
            return network
        if type(previous) is type(network):
            network.load_state_dict(previous.state_dict())
        else:
            network.load_encoder(previous)
        return network

    def _training_loader(self, stage: StageSection, seed: tuple[int, int]) -> DataLoader[Item]:
        section = stage.augmentation
        augmentation = Augmentation(section.crop, section.scale, section.flip, section.colour)
        samples = TrainingSamples(self.train_set, augmentation, seed, scenes_of(stage, self.recipe))
        return training_loader(samples, stage.batch_size, self.recipe.data.workers, self.processes)

    def _class_weights(self, stage: StageSection) -> np.ndarray[Any, np.dtype[np.float32]]:
        if stage.loss.class_weights == "none":
            return np.ones(self.train_set.labels.num_classes, np.float32)
        if self._statistics is None:
            mine = class_statistics(self.train_set) if self.processes.first else None
            self._statistics = broadcast(self.processes, mine)
        return class_weights(self._statistics, stage.loss.class_weights, stage.loss.c)

    def _save(self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None) -> None:
        metadata = self._metadata(network, stage, epoch, scores)
        save_checkpoint(self.folder.last, network, metadata)
        whole = network.registered_name == network_entry(self.recipe.network.name).name
        if scores is not None and whole and scores.miou > self.best_miou:
            self.best_miou = scores.miou
            save_checkpoint(self.folder.best, network, metadata)

    def _metadata(self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None) -> ModelMetadata:
        labels = self.train_set.labels
        crop = self.recipe.stages[-1].augmentation.crop
        provenance: dict[str, Any] = {
            "fleetseg": fleetseg.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "finished": time.strftime("%Y-%m-%d", time.gmtime()),
            "data": self.train_set.name,
            "stage": stage,
            "epoch": epoch,
            "recipe": self.recipe.model_dump(mode="json"),
        }
        if scores is not None:
            provenance["val_miou"] = scores.miou
        return ModelMetadata(
            name=self.recipe.name,
            network=spec_of(network),
            classes=labels.names,
            palette=labels.palette,
            normalisation=self.recipe.normalisation,
            train_size=crop,
            licence=self.recipe.licence,
            provenance=provenance,
        )


def check_data(recipe: Recipe, train_set: Dataset, data: str) -> None:
    """`DataError` or `RecipeError` if `recipe` cannot be trained on a data set opened as `data`."""
    labels = train_set.labels
    if len(train_set) == 0:
        raise DataError(f"{data}: the split 'train' has no images")
    if not 2 <= labels.num_classes <= 255:
        raise DataError(f"{data}: has {labels.num_classes} classes; a network of 2 to 255 can be trained")
    if recipe.data.scenes and labels.names != CAMVID_11.names:
        raise RecipeError(
            f"data.scenes is {recipe.data.scenes}, but the built-in scenes have CamVid's 11 classes and "
            f"{data} has {labels.num_classes} others; set data.scenes=0"
        )


def check_shares(recipe: Recipe, data: str, train_images: int, val_images: int, processes: int) -> None:
    """`UsageError` unless every process gets an image of each batch and of the validation split."""
    for stage in recipe.stages:
        batch = min(stage.batch_size, train_images + scenes_of(stage, recipe))
        if batch < processes:
            raise UsageError(
                f"a batch of stage {stage.name} has {batch} images, fewer than the {processes} processes that would "
                f"share it; use fewer --devices or a larger stages.{stage.name}.batch_size"
            )
    if val_images < processes:
        raise UsageError(f"{data}: 'val' has {val_images} images for {processes} processes; use fewer --devices")


def scenes_of(stage: StageSection, recipe: Recipe) -> int:
    """How many built-in scenes each epoch of a stage mixes in."""
    if recipe.data.scenes == 0 or stage.scenes is None:
        return recipe.data.scenes
    return stage.scenes
