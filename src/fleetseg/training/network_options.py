"""The networks that a recipe can name and their options, known without torch.

`models` builds them; this table says the same in advance, so that a recipe's mistake is found before anything
heavy is imported. tests/training/test_network_options.py compares the two.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetseg.errors import UnknownNameError


class _Options(BaseModel):
    # Strict: these values reach the constructors as they are, so "no" must not pass for false.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ENetOptions(_Options):
    """See `models.enet.ENet`."""

    decoder_activation: Literal["relu", "prelu"] = "relu"
    bias: bool = True
    last_kernel_size: Literal[2, 3] = 2


class ENetEncoderOptions(_Options):
    """See `models.enet.ENetEncoder`."""

    bias: bool = True


class _ESPOptions(_Options):
    # Each branch doubles the dilation.
    branches: int = Field(default=5, ge=1, le=10)
    alpha2: int = Field(default=2, ge=0, le=100)
    alpha3: int = Field(default=3, ge=0, le=100)


class ESPNetAOptions(_ESPOptions):
    """See `models.espnet.ESPNetA`."""

    act: Literal["prelu", "relu"] = "prelu"
    residual: bool = True


class ESPNetBOptions(_ESPOptions):
    """See `models.espnet.ESPNetB`."""


class ESPNetCOptions(_ESPOptions):
    """See `models.espnet.ESPNetC`."""

    reduce_kernel_size: Literal[1, 3] = 1
    dilated: bool = True


class ESPNetOptions(_ESPOptions):
    """See `models.espnet.ESPNet`."""

    alpha3: int = Field(default=8, ge=0, le=100)
    # 16, or 16 and the three channels of the image.
    decoder_channels: Literal[16, 19] = 16


#: Registered name → its options.
NETWORK_OPTIONS: dict[str, type[BaseModel]] = {
    "enet": ENetOptions,
    "enet-encoder": ENetEncoderOptions,
    "espnet-a": ESPNetAOptions,
    "espnet-b": ESPNetBOptions,
    "espnet-c": ESPNetCOptions,
    "espnet": ESPNetOptions,
}

#: Networks whose encoder can be trained first, in a stage with ``part: encoder``.
WITH_ENCODER = ("enet", "espnet")


def check_network_name(name: str) -> str:
    """`name`; `ValueError` with the nearest names if there is no such network."""
    if name not in NETWORK_OPTIONS:
        raise ValueError(str(UnknownNameError("network", name, NETWORK_OPTIONS)))
    return name


def check_network_options(name: str, options: dict[str, Any]) -> None:
    """`ValueError` naming the option that network `name` does not have, or whose value is not legal."""
    model = NETWORK_OPTIONS[name]
    try:
        model.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = first["loc"][0]
        if first["type"] == "extra_forbidden":
            legal = ", ".join(model.model_fields)
            raise ValueError(f"'{name}' has no option '{option}'; it has: {legal}") from None
        raise ValueError(f"option {option} of '{name}': {first['msg']} (it is {first['input']!r})") from None
