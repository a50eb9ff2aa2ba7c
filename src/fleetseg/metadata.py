"""What a file of weights says about itself, so that the file alone rebuilds its network and its masks.

The same JSON travels in a safetensors file's header, in an ONNX file's ``metadata_props`` and beside compiled
libraries, always under the key ``fleetseg``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetseg.errors import CheckpointError
from fleetseg.labels import IGNORE_INDEX, LabelSet, label_set

#: Key of the JSON in every carrier, and of an exported file's `ExportedForm`.
METADATA_KEY, FORM_KEY = "fleetseg", "fleetseg_form"


Level = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1)]
Deviation = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Normalisation(_Frozen):
    """From uint8 RGB to the network's input: ``(channels − mean) / std · scale``, channels in `order`."""

    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[Deviation, ...] = (58.395, 57.12, 57.375)
    scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Normalisation:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}; one a channel is needed")
        return self

    @classmethod
    def default(cls, channels: int) -> Normalisation:
        """ImageNet's statistics for three channels; for other counts, 0–255 becomes −1 to 1."""
        return cls() if channels == 3 else cls(mean=(127.5,) * channels, std=(127.5,) * channels)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(H, W, C) uint8, RGB if C = 3 → (1, C, H, W) float32, contiguous."""
        channels = image[..., ::-1] if self.order == "bgr" else image
        factor = np.float32(self.scale) / np.asarray(self.std, np.float32)
        values = (channels.astype(np.float32) - np.asarray(self.mean, np.float32)) * factor
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


class NetworkSpec(_Frozen):
    """A registered network and the arguments that rebuild it."""

    name: str
    num_classes: int = Field(ge=2, le=255)
    in_channels: int = Field(default=3, ge=1, le=65535)
    options: dict[str, Any] = Field(default_factory=dict)
    #: 1: logits at the image's size; 8: at ⌈H/8⌉×⌈W/8⌉, to be enlarged bilinearly before the arg-max.
    output_stride: Literal[1, 8] = 1


class ModelMetadata(_Frozen):
    """Everything but the weights."""

    format_version: Literal[1] = 1
    name: str
    network: NetworkSpec
    classes: tuple[str, ...]
    palette: tuple[tuple[Level, Level, Level], ...]
    ignore_index: Level = IGNORE_INDEX
    normalisation: Normalisation = Normalisation()
    #: (width, height) of the images the network was trained on; None if unknown.
    train_size: tuple[Side, Side] | None = None
    licence: str = ""
    #: How it was trained: recipe, seed, versions, epochs, validation results.
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> ModelMetadata:
        if not len(self.classes) == len(self.palette) == self.network.num_classes:
            raise ValueError(
                f"{len(self.classes)} class names, {len(self.palette)} colours and a network of "
                f"{self.network.num_classes} classes; the three must be equal"
            )
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"the class name '{twice}' occurs twice; masks could not be matched by name")
        channels, means = self.network.in_channels, len(self.normalisation.mean)
        if channels != means:
            raise ValueError(f"{means} channels are normalised but the network has {channels}")
        return self

    @property
    def labels(self) -> LabelSet:
        """Class names and palette."""
        return LabelSet(self.classes, self.palette)

    def to_json(self) -> str:
        """Compact JSON, keys in declaration order (equal metadata gives equal bytes)."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelMetadata:
        """Parse; `CheckpointError` names `source` and the field that is wrong."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole"
            reason = first["msg"].removeprefix("Value error, ")
            raise CheckpointError(f"{source}: its fleetseg metadata is wrong at {place}: {reason}") from error


def metadata_for(
    network: NetworkSpec, name: str, classes: Sequence[str], palette: Sequence[Sequence[int]] | None = None
) -> ModelMetadata:
    """Metadata with defaults for everything that is not given."""
    labels = label_set(classes, palette)
    return ModelMetadata(
        name=name,
        network=network,
        classes=labels.names,
        palette=labels.palette,
        normalisation=Normalisation.default(network.in_channels),
    )


class ExportedForm(_Frozen):
    """What an exported file takes and gives, where that differs from a checkpoint's: what a runtime must know.

    With `preprocessing` it takes (1, H, W, C) uint8 images, of `image_size` if that is given, else of `size`; without,
    the normalised (1, C, H, W) float32. The head "logits" gives (1, classes, rows, columns) float32, "classes" the
    (1, rows, columns) class map.
    """

    #: As in ``fleetseg export --format``.
    format: str
    #: (width, height) that the network sees; None: any.
    size: tuple[Side, Side] | None = None
    image_size: tuple[Side, Side] | None = None
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    head: Literal["logits", "classes"] = "logits"
    preprocessing: bool = False
    #: Of fleetseg, when it wrote the file.
    version: str = ""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(width, height) of what goes in; None: any."""
        return self.image_size or self.size


def carried(metadata: ModelMetadata, form: ExportedForm) -> dict[str, str]:
    """What an exported file carries in its metadata fields, by key."""
    return {METADATA_KEY: metadata.to_json(), FORM_KEY: form.model_dump_json()}


def read_carried(fields: Mapping[str, str], source: str) -> tuple[ModelMetadata, ExportedForm]:
    """The inverse of `carried`; `CheckpointError` if the fields are not there or wrong."""
    absent = [key for key in (METADATA_KEY, FORM_KEY) if key not in fields]
    if absent:
        raise CheckpointError(f"{source}: has no '{absent[0]}' metadata; use a file that fleetseg export wrote")
    try:
        form = ExportedForm.model_validate_json(fields[FORM_KEY])
    except ValidationError as error:
        raise CheckpointError(f"{source}: its '{FORM_KEY}' metadata is wrong: {error.errors()[0]['msg']}") from error
    return ModelMetadata.from_json(fields[METADATA_KEY], source), form
