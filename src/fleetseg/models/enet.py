"""ENet: a deep neural network architecture for real-time semantic segmentation (arXiv 1606.02147).

Layers follow Table 1; where print and the authors' Torch7 code differ, the code is followed: decoder with
ReLU and without dropout, no BatchNorm inside an asymmetric pair, biases in the initial, middle and last
convolutions, and BatchNorm on the decoder's skip.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2, NormAct, activation, batch_norm


class InitialBlock(nn.Module):
    """Fig. 2(a): a strided 3×3 convolution beside a max-pool of the image; 16 maps at half size.

    The paper's image has three channels, all pooled. Of an image with many bands at most the first eight are
    pooled, so that the convolution, which reads them all, keeps half of the maps.
    """

    def __init__(self, in_channels: int, out_channels: int = 16, bias: bool = True) -> None:
        super().__init__()
        self.pooled = min(in_channels, out_channels // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - self.pooled, 3, stride=2, padding=1, bias=bias)
        self.norm_act = NormAct(out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 16, H/2, W/2)."""
        pooled = F.max_pool2d(image[:, : self.pooled], 2)
        result: Tensor = self.norm_act(torch.cat((self.conv(image), pooled), dim=1))
        return result


def middle_conv(channels: int, dilation: int, asymmetric: bool, bias: bool) -> nn.Module:
    """The bottleneck's main convolution: 3×3, dilated 3×3, or the asymmetric pair 1×5, 5×1."""
    if asymmetric:
        return nn.Sequential(
            nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False),
            nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), bias=bias),
        )
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=bias)


class Bottleneck(nn.Module):
    """Fig. 2(b) without a change of size: 1×1 reduce, middle convolution, 1×1 expand, residual."""

    def __init__(
        self,
        channels: int,
        *,
        dilation: int = 1,
        asymmetric: bool = False,
        dropout: float = 0.0,
        act: str = "prelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.extension = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            NormAct(inner, act),
            middle_conv(inner, dilation, asymmetric, bias),
            NormAct(inner, act),
            nn.Conv2d(inner, channels, 1, bias=False),
            batch_norm(channels),
            nn.Dropout2d(dropout),
        )
        self.act = activation(act, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        result: Tensor = self.act(x + self.extension(x))
        return result


class DownBottleneck(nn.Module):
    """Fig. 2(b), down-sampling: 2×2 strided reduce; the skip is a max-pool padded with empty channels."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float, bias: bool = True) -> None:
        super().__init__()
        inner = out_channels // 4
        self.new_channels = out_channels - in_channels
        self.extension = nn.Sequential(
            nn.Conv2d(in_channels, inner, 2, stride=2, bias=False),
            NormAct(inner),
            nn.Conv2d(inner, inner, 3, padding=1, bias=bias),
            NormAct(inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            batch_norm(out_channels),
            nn.Dropout2d(dropout),
        )
        self.pool = MaxPool2x2()
        self.act = activation("prelu", out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in, H, W) → (N, out, H/2, W/2) and the pool's places for the decoder."""
        pooled, place = self.pool(x)
        skip = F.pad(pooled, (0, 0, 0, 0, 0, self.new_channels))
        return self.act(skip + self.extension(x)), place


class UpBottleneck(nn.Module):
    """Fig. 2(b), up-sampling: transposed middle convolution; skip un-pooled with the encoder's places."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "relu", bias: bool = True) -> None:
        super().__init__()
        inner = out_channels // 4
        self.extension = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, bias=False),
            NormAct(inner, act),
            nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1, bias=bias),
            NormAct(inner, act),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            batch_norm(out_channels),
        )
        projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.skip = nn.Sequential(projection, batch_norm(out_channels))
        self.unpool = MaxUnpool2x2()
        self.act = activation(act, out_channels)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """(N, in, H, W) and places (N, out, 4, H, W) → (N, out, 2H, 2W)."""
        result: Tensor = self.act(self.unpool(self.skip(x), place) + self.extension(x))
        return result


def repeated_stage(bias: bool) -> nn.Sequential:
    """Bottlenecks 2.1–2.8, which Table 1 repeats as 3.1–3.8."""
    plan = [(1, False), (2, False), (1, True), (4, False), (1, False), (8, False), (1, True), (16, False)]
    blocks = (
        Bottleneck(128, dilation=dilation, asymmetric=asymmetric, dropout=0.1, bias=bias)
        for dilation, asymmetric in plan
    )
    return nn.Sequential(*blocks)


class Backbone(nn.Module):
    """Stages 0 to 3: image to 128 maps at 1/8, with the places both poolings kept."""

    def __init__(self, in_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.initial = InitialBlock(in_channels, bias=bias)
        self.down1 = DownBottleneck(16, 64, dropout=0.01, bias=bias)
        self.stage1 = nn.Sequential(*(Bottleneck(64, dropout=0.01, bias=bias) for _ in range(4)))
        self.down2 = DownBottleneck(64, 128, dropout=0.1, bias=bias)
        self.stage2 = repeated_stage(bias)
        self.stage3 = repeated_stage(bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, in, H, W) → features (N, 128, H/8, W/8), places of 1.0 and of 2.0."""
        x = self.initial(image)  # (N, 16, H/2, W/2)
        x, place1 = self.down1(x)  # (N, 64, H/4, W/4)
        x, place2 = self.down2(self.stage1(x))  # (N, 128, H/8, W/8)
        return self.stage3(self.stage2(x)), place1, place2


class ENetEncoder(SegmentationNetwork):
    """Stage 1 of the paper's training (section 5.2): the encoder with a 1×1 head, logits at 1/8."""

    output_stride = 8

    def __init__(self, num_classes: int, in_channels: int = 3, bias: bool = True) -> None:
        super().__init__(num_classes, in_channels)
        self.encoder = Backbone(in_channels, bias)
        self.head = nn.Conv2d(128, num_classes, 1, bias=bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        features, _, _ = self.encoder(image)
        logits: Tensor = self.head(features)
        return logits


class ENet(SegmentationNetwork):
    """The whole network of Table 1; 363,076 + 65·C parameters for three input channels.

    Options beyond the published code: `decoder_activation="prelu"` (as printed), `bias=False` (as printed),
    `last_kernel_size=3`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        decoder_activation: str = "relu",
        bias: bool = True,
        last_kernel_size: int = 2,
    ) -> None:
        super().__init__(num_classes, in_channels)
        act = decoder_activation
        self.encoder = Backbone(in_channels, bias)
        self.up4 = UpBottleneck(128, 64, act, bias)
        self.stage4 = nn.Sequential(*(Bottleneck(64, act=act, bias=bias) for _ in range(2)))
        self.up5 = UpBottleneck(64, 16, act, bias)
        self.stage5 = Bottleneck(16, act=act, bias=bias)
        if last_kernel_size == 2:
            self.fullconv = nn.ConvTranspose2d(16, num_classes, 2, stride=2, bias=bias)
        elif last_kernel_size == 3:
            self.fullconv = nn.ConvTranspose2d(16, num_classes, 3, 2, padding=1, output_padding=1, bias=bias)
        else:
            raise ValueError(f"last_kernel_size is {last_kernel_size}; use 2 or 3")
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x, place1, place2 = self.encoder(image)  # (N, 128, H/8, W/8)
        x = self.stage4(self.up4(x, place2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, place1))  # (N, 16, H/2, W/2)
        logits: Tensor = self.fullconv(x)
        return logits

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over the backbone that stage 1 trained; its 1×1 head is dropped."""
        if not isinstance(encoder, ENetEncoder):
            return super().load_encoder(encoder)
        self.encoder.load_state_dict(encoder.encoder.state_dict())
        return None
