"""Running a recipe: stage after stage, each resumable, weights passed on."""

from __future__ import annotations

import logging
import platform
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

import fleetseg
from fleetseg.atomic import write_text
from fleetseg.data import open_dataset
from fleetseg.data.base import Dataset
from fleetseg.data.class_weights import class_statistics, class_weights
from fleetseg.data.transforms import Augmentation
from fleetseg.errors import RecipeError, TrainingError, UsageError
from fleetseg.labels import CAMVID_11
from fleetseg.metadata import ModelMetadata
from fleetseg.metrics import Scores
from fleetseg.models import build_encoder, build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.training.allocator import keep_freed_memory
from fleetseg.training.callbacks import EpochEnd, History, LiveProgress
from fleetseg.training.loader import CachedSamples, TrainingSamples, training_loader
from fleetseg.training.module import Precision, TrainingModule
from fleetseg.training.recipe import Recipe, StageSection


@dataclass(frozen=True)
class RunPaths:
    """The files of a run folder."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The complete recipe; resuming with another one is refused."""
        return self.root / "recipe.yaml"

    @property
    def best(self) -> Path:
        """The weights with the best validation mIoU of all whole-network stages."""
        return self.root / "best.safetensors"

    @property
    def last(self) -> Path:
        """The newest weights."""
        return self.root / "last.safetensors"

    def resume_point(self, stage: StageSection) -> Path:
        """Lightning's state at the newest epoch boundary of a stage."""
        return self.root / "stages" / f"{stage.name}.ckpt"

    def finished(self, stage: StageSection) -> Path:
        """A completed stage's final weights, which the next stage starts from."""
        return self.root / "stages" / f"{stage.name}.safetensors"


class Run:
    """One training run in one folder."""

    def __init__(self, recipe: Recipe, data: str, out: Path, resume: bool = False) -> None:
        self.recipe = recipe
        self.paths = RunPaths(out)
        self.data = data
        self._open_folder(resume)
        self.train_set = open_dataset(data, "train")
        self.val_set = open_dataset(data, "val")
        self._check_scenes()
        self.history = History(out / "history.csv")
        self.best_miou = self._best_so_far()

    def _open_folder(self, resume: bool) -> None:
        text = self.recipe.to_yaml()
        if self.paths.recipe.exists():
            if not resume:
                raise UsageError(f"{self.paths.root}: holds a run already; add --resume or choose another --out")
            if self.paths.recipe.read_text(encoding="utf-8") != text:
                raise UsageError(
                    f"{self.paths.recipe}: the run was started with another recipe; resume with that one "
                    f"(fleetseg train {self.paths.recipe} --resume …)"
                )
        else:
            write_text(self.paths.recipe, text)

    def _check_scenes(self) -> None:
        if self.recipe.data.scenes and self.train_set.labels.names != CAMVID_11.names:
            raise RecipeError(
                f"data.scenes is {self.recipe.data.scenes}, but the built-in scenes have CamVid's 11 classes and "
                f"{self.data} has {self.train_set.labels.num_classes} others; set data.scenes=0"
            )

    def _best_so_far(self) -> float:
        if not self.paths.best.exists():
            return -1.0
        return float(load_checkpoint(self.paths.best)[1].provenance["val_miou"])

    def execute(self) -> Path:
        """Train what is not trained yet; returns the path of the best weights."""
        keep_freed_memory()
        quiet_lightning()
        samples: CachedSamples | Dataset = self.train_set
        if self.recipe.data.cache:
            samples = CachedSamples(self.train_set)
            samples.fill()
        previous: SegmentationNetwork | None = None
        for index, stage in enumerate(self.recipe.stages):
            if self.paths.finished(stage).exists():
                previous = load_checkpoint(self.paths.finished(stage))[0]
                continue
            previous = self._run_stage(index, stage, samples, previous)
        return self.paths.best

    def _run_stage(
        self, index: int, stage: StageSection, samples: CachedSamples | Dataset, previous: SegmentationNetwork | None
    ) -> SegmentationNetwork:
        seed = (self.recipe.seed, index)
        pl.seed_everything(self.recipe.seed * 1000 + index, verbose=False)
        network = self._build(stage, previous)
        loader = self._training_loader(stage, samples, seed)
        module = TrainingModule(
            network,
            stage,
            self.recipe.normalisation,
            self._class_weights(stage),
            steps_per_epoch=len(loader),
            seed=self.recipe.seed * 1000 + index,
            precision=self._precision(),
        )
        progress = LiveProgress(stage.name, stage.epochs)
        end = EpochEnd(stage.name, self.paths.resume_point(stage), self.history, self._save)
        trainer = self._trainer(stage, [progress, end])
        resume_point = self.paths.resume_point(stage)
        trainer.fit(
            module,
            loader,
            self._validation_loader(),
            ckpt_path=str(resume_point) if resume_point.exists() else None,
            weights_only=True,
        )
        if trainer.interrupted:
            raise TrainingError(f"{self.paths.root}: stopped; --resume continues from the last whole epoch")
        final = module.best_network
        save_checkpoint(self.paths.finished(stage), final, self._metadata(final, stage.name, stage.epochs, None))
        return final

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

    def _training_loader(
        self, stage: StageSection, samples: CachedSamples | Dataset, seed: tuple[int, int]
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        section = stage.augmentation
        augmentation = Augmentation(section.crop, section.scale, section.flip, section.colour)
        training = TrainingSamples(samples, augmentation, seed, self.recipe.data.scenes)
        return training_loader(training, stage.batch_size, self.recipe.data.workers)

    def _validation_loader(self) -> DataLoader[Any]:
        return DataLoader(_Whole(self.val_set), batch_size=None)

    def _class_weights(self, stage: StageSection) -> np.ndarray[Any, np.dtype[np.float32]]:
        if not hasattr(self, "_statistics"):
            self._statistics = class_statistics(self.train_set)
        return class_weights(self._statistics, stage.loss.class_weights, stage.loss.c)

    def _precision(self) -> Precision:
        choice = self.recipe.precision
        bf16 = choice == "bf16" or (choice == "auto" and bf16_is_fast())
        return Precision(bf16=bf16, compile=self.recipe.compile)

    def _trainer(self, stage: StageSection, callbacks: list[pl.Callback]) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=stage.epochs,
            callbacks=callbacks,
            logger=TensorBoardLogger(self.paths.root, name="tensorboard", version=""),
            default_root_dir=str(self.paths.root),
            check_val_every_n_epoch=validation_interval(stage),
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            devices=1,
            accelerator="auto",
        )

    def _save(self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None) -> None:
        metadata = self._metadata(network, stage, epoch, scores)
        save_checkpoint(self.paths.last, network, metadata)
        whole = network.registered_name == self.recipe.network.name
        if scores is not None and whole and scores.miou > self.best_miou:
            self.best_miou = scores.miou
            save_checkpoint(self.paths.best, network, metadata)

    def _metadata(
        self, network: SegmentationNetwork, stage: str, epoch: int, scores: Scores | None
    ) -> ModelMetadata:
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


class _Whole(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Whole validation images, one a batch, decoded anew each time or kept by the data set."""

    def __init__(self, dataset: Dataset) -> None:
        self.samples = CachedSamples(dataset)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        return torch.from_numpy(sample.image).permute(2, 0, 1)[None], torch.from_numpy(sample.mask)[None]


def validation_interval(stage: StageSection) -> int:
    """The longest interval up to `validate_every` that also meets the stage's last epoch."""
    longest = min(stage.validate_every, stage.epochs)
    return next(interval for interval in range(longest, 0, -1) if stage.epochs % interval == 0)


def bf16_is_fast() -> bool:
    """Whether this processor or GPU multiplies bf16 natively."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported())  # type: ignore[no-untyped-call]


def quiet_lightning() -> None:
    """Keep Lightning's banners and advice out of our progress lines."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
