"""ENet: a deep neural network architecture for real-time semantic segmentation (arXiv 1606.02147).

Layers follow Table 1; where print and the authors' Torch7 code differ, the code is followed: decoder with
ReLU and without dropout, no BatchNorm inside an asymmetric pair, biases in the initial, middle and last
convolutions, and BatchNorm on the decoder's skip. The choices that section 4 discusses are options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import NormAct
from fleetseg.models.enet_blocks import (
    REGULARISATIONS,
    Bottleneck,
    DownBottleneck,
    InitialBlock,
    Style,
    UpBottleneck,
)


@dataclass(frozen=True)
class Choices:
    """What may be chosen in both of ENet's networks; the defaults are the published code's."""

    #: False: no convolution has a bias, as printed.
    bias: bool = True
    #: "prelu", or "relu", which the paper replaced.
    encoder_activation: str = "prelu"
    #: False: regular convolutions in place of the dilated ones.
    dilated: bool = True
    #: False: regular 3×3 convolutions in place of the pairs 1×5, 5×1.
    asymmetric: bool = True
    #: Maps of the initial block, 16 or 32; the decoder's last stage has as many.
    initial_maps: int = 16
    #: BatchNorm and activation before convolutions, as in [31]; the paper found it worse.
    pre_activation: bool = False
    #: Of the strided projection: 2, or the original ResNet's 1.
    down_kernel_size: int = 2
    #: "dropout" (spatial), "depth" (stochastic depth, which the paper tried first, at the same rates) or "none".
    regularisation: str = "dropout"

    def __post_init__(self) -> None:
        if self.initial_maps not in (16, 32):
            raise ValueError(f"initial_maps is {self.initial_maps}; use 16 or 32")
        if self.down_kernel_size not in (1, 2):
            raise ValueError(f"down_kernel_size is {self.down_kernel_size}; use 1 or 2")
        if self.regularisation not in REGULARISATIONS:
            raise ValueError(f"regularisation is {self.regularisation!r}; use one of {', '.join(REGULARISATIONS)}")

    def encoder_style(self) -> Style:
        """Of the blocks of stages 1 to 3."""
        return Style(self.encoder_activation, self.bias, self.pre_activation, self.regularisation)

    def decoder_style(self, act: str) -> Style:
        """Of the blocks of stages 4 and 5, which the published code does not regularise."""
        return Style(act, self.bias, self.pre_activation, "none")


def repeated_stage(choices: Choices) -> nn.Sequential:
    """Bottlenecks 2.1–2.8, which Table 1 repeats as 3.1–3.8."""
    plan = [(1, False), (2, False), (1, True), (4, False), (1, False), (8, False), (1, True), (16, False)]
    blocks = (
        Bottleneck(
            128,
            dilation=dilation if choices.dilated else 1,
            asymmetric=asymmetric and choices.asymmetric,
            dropout=0.1,
            style=choices.encoder_style(),
        )
        for dilation, asymmetric in plan
    )
    return nn.Sequential(*blocks)


class Backbone(nn.Module):
    """Stages 0 to 3: image to 128 maps at 1/8, with the places both poolings kept."""

    def __init__(self, in_channels: int, choices: Choices) -> None:
        super().__init__()
        style, maps, kernel_size = choices.encoder_style(), choices.initial_maps, choices.down_kernel_size
        self.initial = InitialBlock(in_channels, maps, choices.bias, choices.encoder_activation)
        self.down1 = DownBottleneck(maps, 64, 0.01, style, kernel_size)
        self.stage1 = nn.Sequential(*(Bottleneck(64, dropout=0.01, style=style) for _ in range(4)))
        self.down2 = DownBottleneck(64, 128, 0.1, style, kernel_size)
        self.stage2 = repeated_stage(choices)
        self.stage3 = repeated_stage(choices)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, in, H, W) → features (N, 128, H/8, W/8), places of 1.0 and of 2.0."""
        x = self.initial(image)  # (N, maps, H/2, W/2)
        x, place1 = self.down1(x)  # (N, 64, H/4, W/4)
        x, place2 = self.down2(self.stage1(x))  # (N, 128, H/8, W/8)
        return self.stage3(self.stage2(x)), place1, place2


class ENetEncoder(SegmentationNetwork):
    """Stage 1 of the paper's training (section 5.2): the encoder with a 1×1 head, logits at 1/8."""

    output_stride = 8

    def __init__(self, num_classes: int, in_channels: int = 3, **choices: Any) -> None:
        super().__init__(num_classes, in_channels)
        use = Choices(**choices)
        self.encoder = Backbone(in_channels, use)
        self.before_head = NormAct(128, use.encoder_activation) if use.pre_activation else nn.Identity()
        self.head = nn.Conv2d(128, num_classes, 1, bias=use.bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        features, _, _ = self.encoder(image)
        logits: Tensor = self.head(self.before_head(features))
        return logits


class ENet(SegmentationNetwork):
    """The whole network of Table 1; 363,076 + 65·C parameters for three input channels.

    Options of the decoder beside `Choices`: `decoder_activation` ("prelu" as printed), `last_kernel_size` (2 or 3),
    `unpooling` ("indices", or "bilinear": the skip is enlarged without the encoder's pooling indices).
    """

    encoder_map = ("encoder.stage3", 128)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        decoder_activation: str = "relu",
        last_kernel_size: int = 2,
        unpooling: str = "indices",
        **choices: Any,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if unpooling not in ("indices", "bilinear"):
            raise ValueError(f"unpooling is {unpooling!r}; use 'indices' or 'bilinear'")
        if last_kernel_size not in (2, 3):
            raise ValueError(f"last_kernel_size is {last_kernel_size}; use 2 or 3")
        use = Choices(**choices)
        style, maps = use.decoder_style(decoder_activation), use.initial_maps
        self.encoder = Backbone(in_channels, use)
        self.up4 = UpBottleneck(128, 64, style, unpooling)
        self.stage4 = nn.Sequential(*(Bottleneck(64, style=style) for _ in range(2)))
        self.up5 = UpBottleneck(64, maps, style, unpooling)
        self.stage5 = Bottleneck(maps, style=style)
        self.before_last = NormAct(maps, decoder_activation) if use.pre_activation else nn.Identity()
        # 2×2 without padding, or 3×3 cut to the same size.
        extra = last_kernel_size - 2
        self.fullconv = nn.ConvTranspose2d(maps, num_classes, last_kernel_size, 2, extra, extra, bias=use.bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x, place1, place2 = self.encoder(image)  # (N, 128, H/8, W/8)
        x = self.stage4(self.up4(x, place2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, place1))  # (N, maps, H/2, W/2)
        logits: Tensor = self.fullconv(self.before_last(x))
        return logits

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over the backbone that stage 1 trained; its 1×1 head is dropped."""
        if not isinstance(encoder, ENetEncoder):
            return super().load_encoder(encoder)
        self.encoder.load_state_dict(encoder.encoder.state_dict())
        return None
