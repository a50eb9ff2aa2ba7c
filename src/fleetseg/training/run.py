"""Running a recipe: stage after stage, each resumable, weights passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from fleetseg.data.cached_statistics import cached_class_statistics
from fleetseg.data.class_weights import ClassStatistics, class_weights
from fleetseg.data.transforms import Augmentation
from fleetseg.models import build_network, register_network
from fleetseg.models.backbone_weights import check_backbone_weights, load_backbone_weights
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.allocator import keep_freed_memory
from fleetseg.training.checks import check_data, check_shares, scenes_of
from fleetseg.training.collectives import SharedStatistics, broadcast, wait_for_all
from fleetseg.training.early_stop import EarlyStop, last_epoch
from fleetseg.training.epoch_end import EpochClock, EpochEnd, ValidationTurns, Watch
from fleetseg.training.failed_batch import batch_saver
from fleetseg.training.failures import TerminationOfOneOfSeveral, interruptions, sentences_for_torch
from fleetseg.training.fixed_images import FixedImages
from fleetseg.training.folder_lock import FolderLock
from fleetseg.training.freezing import freeze
from fleetseg.training.history import History
from fleetseg.training.initial_channels import with_initial_channels
from fleetseg.training.loader import EpochSampler, Item, TrainingSamples, training_loader, validation_loader
from fleetseg.training.memory_fit import fitting_batch_size
from fleetseg.training.module import TrainingModule
from fleetseg.training.opened_splits import check_apart, open_split
from fleetseg.training.precision import choose_precision
from fleetseg.training.prepare import (
    absent_classes,
    check_stages,
    fresh_network,
    large_crop,
    open_teachers,
    read_initial_weights,
    say,
)
from fleetseg.training.processes import ALONE, Processes
from fleetseg.training.progress import LiveProgress, track
from fleetseg.training.quiet import quiet_libraries
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.run_folder import DataRecord, RunFolder
from fleetseg.training.samples import CachedSamples, cached, silently
from fleetseg.training.saved_weights import SavedWeights
from fleetseg.training.teacher_check import teacher_sentence
from fleetseg.training.trainer import make_trainer
from fleetseg.variants import is_users


class Run:
    """One training run in one folder."""

    def __init__(
        self, recipe: Recipe, data: str, out: Path, resume: bool = False, processes: Processes = ALONE
    ) -> None:
        """Check everything that can be checked, then make or reopen the folder.

        Of several processes, which must have `joined`, the first alone writes.
        Raises the errors of `open_dataset`, `check_data` and `RunFolder.open`, which alone writes.
        """
        self.folder = RunFolder(out)
        if is_users(recipe.network.name):
            register_network(recipe.network.name)
        self.recipe = recipe = with_initial_channels(recipe, self.folder)
        self.processes = processes
        if not processes.first:
            wait_for_all(processes)  # what is wrong, the first one says
        self.train_set = self._undecoded = open_split(recipe, data, recipe.data.train_split)
        self.val_set = open_split(recipe, data, recipe.data.val_split)
        check_data(recipe, self.train_set, data)
        check_apart(self.train_set, self.val_set)
        check_stages(recipe, self.train_set.labels)
        if is_users(recipe.network.name):
            # What is wrong with it is said before there is a folder.
            with torch.random.fork_rng(devices=[]):
                build_network(recipe.network.name, self.train_set.labels.num_classes, **recipe.network.options)
        if not resume:
            self._check_backbone_weights()
        unfinished = [stage for stage in recipe.stages if not self.folder.finished(stage).exists()]
        self.teachers = open_teachers(unfinished, self.train_set.labels)
        # A run that was begun has its weights from its own files.
        begun = self.folder.recipe.exists()
        self._initial = None if begun else read_initial_weights(recipe, self.train_set.labels)
        self.lock: FolderLock | None = None
        if processes.first:
            check_shares(recipe, data, len(self.train_set), len(self.val_set), processes.world)
            self.lock = self.folder.open(recipe, DataRecord.of(data, self.train_set, self.val_set), resume)
            wait_for_all(processes)
        self.history = History(self.folder.history)
        self.weights = SavedWeights(self.folder, recipe, self.train_set)
        self._statistics: ClassStatistics | None = None
        #: Called in the first process after each epoch that was validated, when all of it is saved; may raise.
        self.watch: Watch | None = None

    def _check_backbone_weights(self) -> None:
        """Before the folder is made: a wrong file leaves nothing behind."""
        section = self.recipe.network
        if section.backbone_weights is not None:
            with torch.device("meta"):
                network = fresh_network(self.recipe, self.recipe.stages[-1], self.train_set.labels.num_classes)
            check_backbone_weights(network, section.backbone_weights)

    @property
    def best_miou(self) -> float:
        """The best validation mIoU so far, 0 to 1; -1 before there is one."""
        return self.weights.best_miou

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
        if self.lock is not None:
            self.lock.release()
        return self.folder.best

    def _cache_samples(self) -> None:
        if not self.recipe.data.cache:
            return
        where, share = self.recipe.data.cache, 0.5 / self.processes.local_world
        shown = track if self.processes.first else silently
        self.train_set = cached(self.train_set, where, share, shown, aloud=self.processes.first)
        if isinstance(self.train_set, CachedSamples):
            self.train_set.fill(shown)
        # After the training images have taken their memory.
        self.val_set = cached(self.val_set, where, share, shown, aloud=self.processes.first)

    def _run_stage(self, index: int, stage: StageSection, previous: SegmentationNetwork | None) -> SegmentationNetwork:
        seed = self.recipe.seed * 1000 + index
        pl.seed_everything(seed, verbose=False)
        network = self._build(stage, previous)
        frozen_norms = freeze(network, stage.freeze, stage.name)
        self._note(large_crop(stage, self.train_set))
        sampler_seed = (self.recipe.seed, index)
        loader = self._training_loader(stage, sampler_seed)
        self._check_teacher(stage, loader)
        module = TrainingModule(
            network,
            stage,
            self.recipe.normalisation,
            self._class_weights(stage),
            steps_per_epoch=len(loader),
            seed=seed,
            precision=choose_precision(self.recipe),
            processes=self.processes,
            frozen_norms=frozen_norms,
            teacher=self.teachers.get(stage.name),
            save_batch=batch_saver(self.folder.failed_batch, self.train_set, loader),
        )
        self._fit(stage, module, loader)
        final = module.best_network
        if self.processes.first:
            self.weights.finish(final, stage, last_epoch(stage, self.history))
        return final

    def _fit(self, stage: StageSection, module: TrainingModule, loader: DataLoader[Item]) -> None:
        assert isinstance(loader.sampler, EpochSampler)
        resume_point = self.folder.resume_point(stage)
        callbacks = self._callbacks(stage, loader.sampler)
        # Fewer epochs, if the run was killed after it had decided to stop early.
        epochs = last_epoch(stage, self.history)
        trainer = make_trainer(stage, epochs, self.folder.root, callbacks, self.processes)
        start = str(resume_point) if resume_point.exists() else None
        with interruptions(), sentences_for_torch(stage, lambda: self._fitting_batch_size(module)):
            trainer.fit(module, loader, validation_loader(self.val_set, self.processes), ckpt_path=start)
        if trainer.interrupted:
            raise KeyboardInterrupt

    def _callbacks(self, stage: StageSection, sampler: EpochSampler) -> list[pl.Callback]:
        clock = EpochClock()
        names = self.val_set.labels.names
        resume_point = self.folder.resume_point(stage)
        callbacks: list[pl.Callback] = [clock, ValidationTurns(stage.validate_every, stage.epochs)]
        if self.processes.world > 1:
            callbacks += [SharedStatistics(self.processes), TerminationOfOneOfSeveral()]
        if self.processes.first:
            # The pictures come before the clock, which counts them as validation.
            callbacks = [FixedImages(self.val_set), *callbacks, LiveProgress(stage.name, stage.epochs, clock)]
        epoch_end = EpochEnd(resume_point, self.history, self.weights.save, clock, sampler, names, self.watch)
        return [*callbacks, epoch_end, EarlyStop(stage, self.history)]

    def _fitting_batch_size(self, module: TrainingModule) -> int | None:
        """None where several processes would have to try together."""
        return fitting_batch_size(module, module.stage.batch_size) if self.processes.world == 1 else None

    def _build(self, stage: StageSection, previous: SegmentationNetwork | None) -> SegmentationNetwork:
        network = fresh_network(self.recipe, stage, self.train_set.labels.num_classes)
        if type(previous) is not type(network) and self.recipe.init is not None:
            self._start_from_initial(network, stage)
        if previous is None:
            weights = self.recipe.network.backbone_weights
            if weights is not None and not self.folder.resume_point(stage).exists():
                load_backbone_weights(network, weights)
            return network
        if type(previous) is type(network):
            network.load_state_dict(previous.state_dict())
        else:
            network.load_encoder(previous)
        return network

    def _start_from_initial(self, network: SegmentationNetwork, stage: StageSection) -> None:
        if self.folder.resume_point(stage).exists():
            return
        if self._initial is None:
            self._initial = read_initial_weights(self.recipe, self.train_set.labels)
        assert self._initial is not None
        for sentence in self._initial.copy_into(network, self.train_set.labels.names, self.recipe.normalisation):
            self._note(f"stage {stage.name}: {sentence}")

    def _check_teacher(self, stage: StageSection, loader: DataLoader[Item]) -> None:
        teacher = self.teachers.get(stage.name)
        if teacher is not None and self.processes.first and not self.folder.resume_point(stage).exists():
            assert isinstance(loader.dataset, TrainingSamples)
            assert stage.distillation is not None
            sentence = teacher_sentence(teacher, loader.dataset, stage.distillation.only_right)
            self._note(f"stage {stage.name}: {sentence}" if sentence else None)

    def _note(self, sentence: str | None) -> None:
        if sentence is not None and self.processes.first:
            say(sentence)

    def _training_loader(self, stage: StageSection, seed: tuple[int, int]) -> DataLoader[Item]:
        section = stage.augmentation
        augmentation = Augmentation(section.crop, section.scale, section.flip, section.colour, section.balance)
        scenes = scenes_of(stage, self.recipe)
        taught = stage.distillation is not None and section.colour > 0
        samples = TrainingSamples(self.train_set, augmentation, seed, scenes, section.mix, own_colours=taught)
        return training_loader(samples, stage.batch_size, self.recipe.data.workers, self.processes)

    def _class_weights(self, stage: StageSection) -> np.ndarray[Any, np.dtype[np.float32]]:
        weights = stage.loss.class_weights
        if isinstance(weights, tuple):
            return np.array(weights, np.float32)
        if weights == "none":
            return np.ones(self.train_set.labels.num_classes, np.float32)
        if self._statistics is None:
            mine = cached_class_statistics(self._undecoded, self.train_set) if self.processes.first else None
            self._statistics = broadcast(self.processes, mine)
            self._note(absent_classes(self._statistics, self.train_set))
        return class_weights(self._statistics, weights, stage.loss.c)
