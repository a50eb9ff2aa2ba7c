"""A training recipe: a YAML file, validated key by key. Importing this needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetseg.errors import RecipeError, UnknownNameError
from fleetseg.metadata import Normalisation


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class NetworkSection(_Section):
    """Which network, and its options (alpha2, alpha3, …)."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class DataSection(_Section):
    """What training reads besides the data set that --data names."""

    #: Built-in scenes mixed into each epoch, new ones every epoch; only for data with CamVid's 11 classes.
    scenes: int = Field(default=0, ge=0)
    #: Worker processes that augment.
    workers: int = Field(default=1, ge=0)
    #: Keep decoded images in memory.
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
        if min(self.crop) < 8:
            raise ValueError(f"crop is {self.crop}; width and height must be at least 8")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}; it must be a rising pair above 0")
        return self


class StageSection(_Section):
    """One leg of training. Stages run in order and pass their weights on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    #: encoder: the encoder network against down-sampled labels (the papers' stage 1); network: the whole.
    part: Literal["encoder", "network"] = "network"
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=8, ge=1)
    augmentation: AugmentationSection = AugmentationSection()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    loss: LossSection = LossSection()
    #: Decay of the exponential moving average of the weights, the one that is validated and kept; None: no average.
    ema: float | None = Field(default=None, gt=0, lt=1)
    validate_every: int = Field(default=5, ge=1)


class Recipe(_Section):
    """A whole training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    network: NetworkSection
    data: DataSection = DataSection()
    normalisation: Normalisation = Normalisation()
    seed: int = 0
    #: bf16 autocast, fp32, or bf16 where the processor has it.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    #: torch.compile the training step: minutes to build, then faster epochs.
    compile: bool = False
    #: Where a run reads data if --data is not given; only the built-in scenes can be named here.
    default_data: str | None = None
    licence: str = ""
    stages: tuple[StageSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names are {names}; each must be unique")
        if self.stages[-1].part != "network":
            raise ValueError("the last stage must have part: network")
        return self

    def to_yaml(self) -> str:
        """The complete recipe, defaults filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package."""
    folder = resources.files("fleetseg") / "recipes"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A packaged recipe by name or a YAML file by path, with `key=value` overrides applied.

    Keys are dotted; a stage is named by its name or number: ``stages.fine.epochs=20``, ``stages.0.batch_size=4``.
    Raises `RecipeError` naming the key and what is legal there.
    """
    text, source = _read(name_or_path)
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{source}: a recipe is a mapping with the keys {', '.join(Recipe.model_fields)}")
    for override in overrides:
        _apply(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{source}: {describe(error)}") from error


def _read(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file")
        return path.read_text(encoding="utf-8"), str(path)
    if name_or_path not in packaged_recipes():
        raise UnknownNameError("recipe", name_or_path, packaged_recipes())
    resource = resources.files("fleetseg") / "recipes" / f"{name_or_path}.yaml"
    return resource.read_text(encoding="utf-8"), f"recipe {name_or_path}"


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: write key=value, for example stages.0.epochs=3")
    place: Any = tree
    parts = key.strip().split(".")
    for part in parts[:-1]:
        place = _descend(place, part, key)
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not valid YAML") from error
    if isinstance(parsed, str):
        parsed = _number(parsed)
    last = parts[-1]
    if isinstance(place, list):
        place[_index(place, last, key)] = parsed
    elif isinstance(place, dict):
        place[last] = parsed
    else:
        raise RecipeError(f"--set {override}: '{last}' has no place below a plain value")


def _number(text: str) -> float | str:
    """YAML 1.1 reads 2e-3 as a string; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _descend(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, key)]
    if isinstance(place, dict):
        return place.setdefault(part, {})
    raise RecipeError(f"--set {key}: '{part}' has no place below a plain value")


def _index(stages: list[Any], part: str, key: str) -> int:
    names = [stage.get("name") if isinstance(stage, dict) else None for stage in stages]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(stages):
        return int(part)
    legal = ", ".join(str(name) for name in names)
    raise RecipeError(f"--set {key}: there is no stage '{part}'; stages: {legal} or 0 to {len(stages) - 1}")


def describe(error: ValidationError) -> str:
    """One sentence for the first problem pydantic found: the key, the value and what is legal."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; legal here: {', '.join(_legal_keys(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"the key '{key}' is missing"
    given = first.get("input")
    shown = "" if isinstance(given, dict | list | BaseModel) else f" (it is {given!r})"
    return f"{key}: {message}{shown}" if key else message


def _legal_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return list(model.model_fields)
