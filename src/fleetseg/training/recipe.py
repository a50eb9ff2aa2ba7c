"""What a training recipe can say: every key, its type, default and legal values. Needs no torch.

`recipe_file` reads recipes; this is their schema.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fleetseg.metadata import Normalisation
from fleetseg.training.network_options import WITH_ENCODER, check_network_name, check_network_options, has_encoder


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class NetworkSection(_Section):
    """Which network, and its options (alpha2, alpha3, …)."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_network_name(name)

    @model_validator(mode="after")
    def _check_options(self) -> NetworkSection:
        check_network_options(self.name, self.options)
        return self


class DataSection(_Section):
    """What training reads besides the data set that --data names."""

    #: Built-in scenes mixed into each epoch, new ones every epoch; only for data with CamVid's 11 classes.
    scenes: int = Field(default=0, ge=0)
    #: Worker processes that augment.
    workers: int = Field(default=1, ge=0)
    #: Keep decoded images in memory, if they fit.
    cache: bool = True


class OptimiserSection(_Section):
    """Adam (L2 decay in the gradient, as the papers) or AdamW (decoupled decay)."""

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=2e-4, ge=0)


class ScheduleSection(_Section):
    """Learning rate over the stage, after a linear warm-up.

    constant; step: × `gamma` every `step_epochs`; poly: × (1 − progress)^power; cosine: half a cosine to 0.
    """

    name: Literal["constant", "step", "poly", "cosine"] = "poly"
    warmup_epochs: float = Field(default=0.0, ge=0)
    power: float = Field(default=0.9, gt=0)
    step_epochs: int = Field(default=100, ge=1)
    gamma: float = Field(default=0.1, gt=0)


class LossSection(_Section):
    """Cross-entropy with class weights (see `data.class_weights`)."""

    class_weights: Literal["none", "enet", "inverse", "median"] = "enet"
    #: The c of ENet's 1/ln(c + p); 1.02 is ENet's, 1.10 ESPNet's.
    c: float = Field(default=1.02, gt=1.0)


class AugmentationSection(_Section):
    """See `data.transforms.Augmentation`; `crop` is (width, height)."""

    crop: tuple[int, int] = (480, 360)
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = Field(default=0.5, ge=0, le=1)
    colour: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> AugmentationSection:
        # At 1/8 a smaller crop is a single pixel, of which BatchNorm has no variance.
        if min(self.crop) < 16:
            raise ValueError(f"crop is {list(self.crop)}; width and height must be at least 16")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; it must be a rising pair above 0")
        return self


class StageSection(_Section):
    """One leg of training. Stages run in order and pass their weights on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
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
    #: Decay of the weights' exponential moving average, which is then validated and kept; None: no average.
    ema: float | None = Field(default=None, gt=0, lt=1)
    #: Epochs between two validations; the last epoch is validated too.
    validate_every: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _check(self) -> StageSection:
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs is {self.schedule.warmup_epochs:g} but the stage has {self.epochs} "
                f"epochs; use at most that many"
            )
        return self


class Recipe(_Section):
    """A whole training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    network: NetworkSection
    data: DataSection = DataSection()
    normalisation: Normalisation = Normalisation()
    #: Of everything random; Lightning's 32-bit seeds are 1000 × this + the stage's number.
    seed: int = Field(default=0, ge=0, le=4_000_000)
    #: bf16 autocast, fp32, or (auto) bf16 where the processor has it.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    #: torch.compile the training step: minutes to build, then faster epochs.
    compile: bool = False
    #: Where a run reads data if --data is not given.
    default_data: str | None = None
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
                f"train first; {' and '.join(WITH_ENCODER)} have"
            )
        if len(self.normalisation.mean) != 3:
            count = len(self.normalisation.mean)
            raise ValueError(f"normalisation.mean has {count} values; images have 3 channels")
        return self

    def to_yaml(self) -> str:
        """The complete recipe, defaults filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
