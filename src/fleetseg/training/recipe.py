"""What a training recipe can say: every key, its type, default and legal values. Needs no torch.

`recipe_file` reads recipes; this is their schema.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from fleetseg.metadata import Normalisation
from fleetseg.training.network_options import (
    WITH_ENCODER,
    WITH_ENCODER_MAP,
    check_network_name,
    check_network_options,
    has_encoder,
    has_encoder_map,
)
from fleetseg.training.recipe_augmentation import AugmentationSection
from fleetseg.training.recipe_distillation import SELF, DistillationSection
from fleetseg.training.recipe_loss import LossSection
from fleetseg.training.recipe_optimiser import OptimiserSection, ScheduleSection
from fleetseg.training.recipe_section import Section

#: Names of recipes and stages; a stage's are those of files too.
NAME, LONGEST_NAME = r"^[a-z0-9][a-z0-9_-]*$", 100


class NetworkSection(Section):
    """Which network, and its options (alpha2, alpha3, …)."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    #: A file of ImageNet weights that the backbone starts from, in torchvision's or timm's layout.
    backbone_weights: str | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_network_name(name)

    @model_validator(mode="after")
    def _check_options(self) -> NetworkSection:
        check_network_options(self.name, self.options)
        return self


class DataSection(Section):
    """What training reads besides the data set that --data names."""

    #: Built-in scenes mixed into each epoch, new ones every epoch; only for data with CamVid's 11 classes.
    scenes: int = Field(default=0, ge=0)
    #: Worker processes that augment.
    workers: int = Field(default=1, ge=0, le=256)
    #: Keep decoded images: true or memory, if they fit there; disk, in a file that is mapped into memory, kept for
    #: the next run; auto, in memory or else on disk; false, decode them in every epoch.
    cache: bool | Literal["memory", "disk", "auto"] = True
    #: Bring every image to this width and height before anything else; masks too, in validation as in training.
    size: tuple[int, int] | None = None
    #: The splits that are trained on and validated; A+B joins two.
    train_split: str = Field(default="train", min_length=1)
    val_split: str = Field(default="val", min_length=1)

    @field_validator("size")
    @classmethod
    def _check_size(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < 16:
            raise ValueError(f"size is {list(size)}; width and height must be at least 16")
        return size


class StageSection(Section):
    """One leg of training. Stages run in order and pass their weights on."""

    name: str = Field(pattern=NAME, max_length=LONGEST_NAME)
    #: encoder: the encoder network against down-sampled labels (the papers' stage 1); network: the whole.
    part: Literal["encoder", "network"] = "network"
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=8, ge=1)
    #: Built-in scenes mixed into each epoch of this stage; None: as many as data.scenes says. Where that is 0,
    #: which suits data with other classes, no stage has any.
    scenes: int | None = Field(default=None, ge=0)
    augmentation: AugmentationSection = AugmentationSection()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    loss: LossSection = LossSection()
    distillation: DistillationSection | None = None
    #: Patterns of parameter names, such as "encoder.*", that this stage leaves as they are, BatchNorm included.
    freeze: tuple[str, ...] = ()
    #: Decay of the weights' exponential moving average, which is then validated and kept; None: no average.
    ema: float | None = Field(default=None, gt=0, lt=1)
    #: The last so many epochs' weights are averaged equally, and the average is validated and kept; BatchNorm's
    #: statistics are measured anew for it, which costs a forward pass over the training set an epoch.
    swa_epochs: int | None = Field(default=None, ge=1)
    #: Epochs between two validations; the last epoch is validated too.
    validate_every: int = Field(default=5, ge=1)
    #: The stage ends after so many validations in a row without a better mIoU; None: never before its last epoch.
    patience: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> StageSection:
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs is {self.schedule.warmup_epochs:g} but the stage has {self.epochs} "
                f"epochs; use at most that many"
            )
        if self.swa_epochs is not None and (self.ema is not None or self.swa_epochs > self.epochs):
            raise ValueError(
                f"swa_epochs is {self.swa_epochs}; it must not be above the stage's {self.epochs} epochs and goes "
                f"without ema"
            )
        if self.part == "encoder" and self.loss.auxiliary:
            raise ValueError("loss.auxiliary trains the encoder beside a decoder; a stage with part: encoder has none")
        if self.distillation is not None and SELF in self.distillation.teachers and self.ema is None:
            raise ValueError("distillation.teacher is self, the moving average of the weights; give ema, such as 0.99")
        return self


class Recipe(Section):
    """A whole training run."""

    name: str = Field(pattern=NAME, max_length=LONGEST_NAME)
    network: NetworkSection
    data: DataSection = DataSection()
    normalisation: Normalisation = Normalisation()
    #: Of everything random; Lightning's 32-bit seeds are 1000 × this + the stage's number.
    seed: int = Field(default=0, ge=0, le=4_000_000)
    #: bf16 autocast, fp32, or (auto) bf16 where the processor has it.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    #: torch.compile the training step: minutes to build, then faster epochs.
    compile: bool = False
    #: A packaged name, a checkpoint or a run's folder whose weights training starts from, as far as they fit.
    init: str | None = Field(default=None, min_length=1)
    #: Where a run reads data if --data is not given.
    default_data: str | None = Field(default=None, min_length=1)
    licence: str = ""
    stages: tuple[StageSection, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names are {', '.join(names)}; each must be unique")
        parts = [stage.part for stage in self.stages]
        if parts != sorted(parts):
            raise ValueError("stages with part: encoder must come before those with part: network")
        if parts[-1] != "network":
            raise ValueError("the last stage must have part: network")
        if "encoder" in parts and not has_encoder(self.network.name):
            raise ValueError(
                f"stage {names[0]} has part: encoder, but network '{self.network.name}' has no encoder to "
                f"train first; {', '.join(WITH_ENCODER[:-1])} and {WITH_ENCODER[-1]} have"
            )
        auxiliary = next((stage.name for stage in self.stages if stage.loss.auxiliary), None)
        if auxiliary is not None and not has_encoder_map(self.network.name):
            raise ValueError(
                f"stage {auxiliary} has loss.auxiliary, but network '{self.network.name}' has no place for an "
                f"auxiliary head; {' and '.join(WITH_ENCODER_MAP)} have"
            )
        if len(self.normalisation.mean) != 3:
            count = len(self.normalisation.mean)
            raise ValueError(f"normalisation.mean has {count} values; images have 3 channels")
        return self

    def to_yaml(self) -> str:
        """The complete recipe, defaults filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
