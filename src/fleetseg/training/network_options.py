"""The networks and variants that a recipe can name and their options, known without torch.

`models` builds them; this table says the same in advance, so that a recipe's mistake is found before anything
heavy is imported. tests/training/test_network_options.py compares the two.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleetseg.errors import UnknownNameError
from fleetseg.variants import VARIANTS, is_users, resolved, split_options


class _Options(BaseModel):
    # Strict: these values reach the constructors as they are, so "no" must not pass for false.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


#: See `models.modules`.
ESP_MODULES = ("esp", "mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp")


class ENetEncoderOptions(_Options):
    """See `models.enet.Choices`."""

    bias: bool = True
    encoder_activation: Literal["prelu", "relu"] = "prelu"
    dilated: bool = True
    asymmetric: bool = True
    initial_maps: Literal[16, 32] = 16
    pre_activation: bool = False
    down_kernel_size: Literal[1, 2] = 2
    regularisation: Literal["dropout", "depth", "none"] = "dropout"


class ENetOptions(ENetEncoderOptions):
    """See `models.enet.ENet`."""

    decoder_activation: Literal["relu", "prelu"] = "relu"
    last_kernel_size: Literal[2, 3] = 2
    unpooling: Literal["indices", "bilinear"] = "indices"


class ESPNetBOptions(_Options):
    """See `models.espnet_switches.Switches`."""

    # Each branch doubles the dilation.
    branches: int = Field(default=5, ge=1, le=10)
    act: Literal["prelu", "relu"] = "prelu"
    residual: bool = True
    fusion: Literal["off", "first", "second"] = "second"
    reduce_kernel_size: Literal[1, 3] = 1
    dilated: bool = True
    module: str = "esp"
    downsampling: Literal["esp", "conv"] = "esp"
    down_branches: int = Field(default=5, ge=1, le=10)
    class_bias: bool = False
    alpha2: int = Field(default=2, ge=0, le=100)
    alpha3: int = Field(default=3, ge=0, le=100)

    @field_validator("module")
    @classmethod
    def _check_name(cls, module: str) -> str:
        if module not in ESP_MODULES:
            raise ValueError(str(UnknownNameError("module", module, ESP_MODULES)))
        return module

    @model_validator(mode="after")
    def _check_module(self) -> ESPNetBOptions:
        if self.module != "esp" and self.reduce_kernel_size != 1:
            raise ValueError(f"reduce_kernel_size is ESP's, module '{self.module}' has none; use 1")
        if self.module in ("mobilenet", "shufflenet", "resnet") and self.branches != 5:
            raise ValueError(f"module '{self.module}' has no branches; leave branches at 5")
        return self


class ESPNetAOptions(ESPNetBOptions):
    """See `models.espnet.ESPNetA`."""

    down_branches: int = Field(default=4, ge=1, le=10)


class ESPNetCOptions(ESPNetBOptions):
    """See `models.espnet.ESPNetC`."""

    image_input: Literal["joined", "added"] = "joined"


class ESPNetOptions(ESPNetCOptions):
    """See `models.espnet.ESPNet`."""

    alpha3: int = Field(default=8, ge=0, le=100)
    # 16, or 16 and the three channels of the image.
    decoder_channels: Literal[16, 19] = 16

    @model_validator(mode="after")
    def _check_decoder(self) -> ESPNetOptions:
        if self.image_input == "added" and self.decoder_channels != 16:
            raise ValueError("decoder_channels is 19, but with image_input 'added' only 16 are there; use 16")
        return self


class _Scaled(_Options):
    #: Channels, as a multiple of the published ones.
    width: float = Field(default=1.0, gt=0, le=4)


class SegNetOptions(_Scaled):
    """See `models.segnet.SegNet`; of every other network whose one option is its width, too."""


class ERFNetOptions(_Options):
    """See `models.erfnet.ERFNet`; it has no options."""


class FCN8sOptions(_Scaled):
    """See `models.fcn.FCN8s`."""

    published: bool = False


class DeepLabV2Options(_Scaled):
    """See `models.deeplab.DeepLabV2`."""

    multi_scale: bool = True
    original: bool = False


class PSPNetOptions(_Scaled):
    """See `models.pspnet.PSPNet`."""

    auxiliary: bool = False
    deep_stem: bool = True


class DilationOptions(_Scaled):
    """See `models.dilation.Dilation`."""

    context_layers: Literal[7, 8, 10] = 8
    large_context: bool = True
    padded: bool = True

    @model_validator(mode="after")
    def _check(self) -> DilationOptions:
        if self.large_context and self.context_layers != 8:
            raise ValueError(f"the large context module has 8 layers, not {self.context_layers}")
        return self


class RefineNetOptions(_Scaled):
    """See `models.refinenet.RefineNet`."""

    depth: Literal[50, 101] = 101
    improved_pooling: bool = False
    original: bool = False


class BiopsyESPNetOptions(_Scaled):
    """See `models.biopsy_espnet.BiopsyESPNet`."""

    esp: bool = True


#: Registered name → its options.
NETWORK_OPTIONS: dict[str, type[BaseModel]] = {
    "enet": ENetOptions,
    "enet-encoder": ENetEncoderOptions,
    "espnet-a": ESPNetAOptions,
    "espnet-b": ESPNetBOptions,
    "espnet-c": ESPNetCOptions,
    "espnet": ESPNetOptions,
    "segnet": SegNetOptions,
    "segnet-basic": SegNetOptions,
    "erfnet": ERFNetOptions,
    "erfnet-encoder": ERFNetOptions,
    "sqnet": SegNetOptions,
    "fcn-8s": FCN8sOptions,
    "deeplab-v2": DeepLabV2Options,
    "pspnet": PSPNetOptions,
    "dilation-8": DilationOptions,
    "refinenet-101": RefineNetOptions,
    "lrr-4x": SegNetOptions,
    "biopsy-mehta": SegNetOptions,
    "biopsy-resnet18": SegNetOptions,
    "biopsy-espnet": BiopsyESPNetOptions,
}

#: Networks whose encoder can be trained first, in a stage with ``part: encoder``.
WITH_ENCODER = ("enet", "espnet", "erfnet")

#: Networks beside whose decoder a head at the encoder's end can be trained (``loss.auxiliary``).
WITH_ENCODER_MAP = ("enet", "espnet")


def check_network_name(name: str) -> str:
    """`name`; `ValueError` with the nearest names if there is no such network or variant."""
    if name not in NETWORK_OPTIONS and name not in VARIANTS and not is_users(name):
        raise ValueError(str(UnknownNameError("network", name, (*NETWORK_OPTIONS, *VARIANTS))))
    return name


def has_encoder(name: str) -> bool:
    """Whether a stage of that network can have ``part: encoder``."""
    return resolved(name, {})[0] in WITH_ENCODER


def has_encoder_map(name: str) -> bool:
    """Whether a stage of that network can have ``loss.auxiliary``."""
    return resolved(name, {})[0] in WITH_ENCODER_MAP


def check_network_options(name: str, options: dict[str, Any]) -> None:
    """`ValueError` naming the option that network `name` does not have, or whose value is not legal."""
    if is_users(name):
        return  # only its own file knows them
    network, every = resolved(name, split_options(options)[0])
    model = NETWORK_OPTIONS[network]
    try:
        model.model_validate(every)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise ValueError(f"'{name}': {first['msg'].removeprefix('Value error, ')}") from None
        option = first["loc"][0]
        if first["type"] == "extra_forbidden":
            legal = ", ".join(model.model_fields)
            raise ValueError(f"'{name}' has no option '{option}'; it has: {legal}") from None
        problem = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"option {option} of '{name}': {problem} (it is {first['input']!r})") from None
    # Literal[1, 3] takes True, which equals 1.
    for option, value in every.items():
        kind = type(model.model_fields[option].default)
        if isinstance(value, bool) and kind is not bool:
            raise ValueError(f"option {option} of '{name}': a value of type {kind.__name__} is needed (it is {value})")
