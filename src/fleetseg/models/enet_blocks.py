"""ENet's blocks: Fig. 2 of its paper (arXiv 1606.02147), with the alternatives of its section 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2, NormAct, activation, batch_norm


class InitialBlock(nn.Module):
    """Fig. 2(a): a strided 3×3 convolution beside a max-pool of the image; 16 maps (or 32) at half size.

    The paper's image has three channels, all pooled. Of an image with many bands at most the first eight are
    pooled, so that the convolution, which reads them all, keeps half of the maps.
    """

    def __init__(self, in_channels: int, out_channels: int = 16, bias: bool = True, act: str = "prelu") -> None:
        super().__init__()
        self.pooled = min(in_channels, out_channels // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - self.pooled, 3, stride=2, padding=1, bias=bias)
        self.norm_act = NormAct(out_channels, act)

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H/2, W/2)."""
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


class StochasticDepth(nn.Module):
    """Drops the whole branch of an image with probability `p` in training; the rest is scaled to the same mean."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (kept / (1 - self.p))


#: What stands at the end of each encoder block's branch; "dropout" is the paper's final choice (section 4).
REGULARISATIONS: dict[str, Callable[[float], nn.Module]] = {
    "dropout": nn.Dropout2d,
    "depth": StochasticDepth,
    "none": lambda _: nn.Identity(),
}


class Style(NamedTuple):
    """What all blocks of a part of the network share."""

    act: str = "prelu"
    bias: bool = True
    #: BatchNorm and activation before each convolution instead of after it, and none after the sum.
    pre_activation: bool = False
    regularisation: str = "dropout"

    def after_sum(self, channels: int) -> nn.Module:
        """The activation of a block's output."""
        return nn.Identity() if self.pre_activation else activation(self.act, channels)

    def branch(self, reduce: nn.Conv2d, middle: nn.Module, expand: nn.Conv2d, dropout: float) -> nn.Sequential:
        """The extension branch of Fig. 2(b) out of its three convolutions."""
        inner, out = reduce.out_channels, expand.out_channels
        around = (NormAct(inner, self.act), middle, NormAct(inner, self.act), expand)
        last = REGULARISATIONS[self.regularisation](dropout)
        if self.pre_activation:
            return nn.Sequential(NormAct(reduce.in_channels, self.act), reduce, *around, last)
        return nn.Sequential(reduce, *around, batch_norm(out), last)


DEFAULT_STYLE = Style()


class Bottleneck(nn.Module):
    """Fig. 2(b) without a change of size: 1×1 reduce, middle convolution, 1×1 expand, residual."""

    def __init__(
        self,
        channels: int,
        *,
        dilation: int = 1,
        asymmetric: bool = False,
        dropout: float = 0.0,
        style: Style = DEFAULT_STYLE,
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.extension = style.branch(
            nn.Conv2d(channels, inner, 1, bias=False),
            middle_conv(inner, dilation, asymmetric, style.bias),
            nn.Conv2d(inner, channels, 1, bias=False),
            dropout,
        )
        self.act = style.after_sum(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        result: Tensor = self.act(x + self.extension(x))
        return result


class DownBottleneck(nn.Module):
    """Fig. 2(b), down-sampling: 2×2 strided reduce; the skip is a max-pool padded with empty channels.

    `kernel_size` 1 is the original ResNet's projection, which sees a quarter of its input (section 4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dropout: float,
        style: Style = DEFAULT_STYLE,
        kernel_size: int = 2,
    ) -> None:
        super().__init__()
        inner = out_channels // 4
        self.extension = style.branch(
            nn.Conv2d(in_channels, inner, kernel_size, stride=2, bias=False),
            nn.Conv2d(inner, inner, 3, padding=1, bias=style.bias),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            dropout,
        )
        self.pool = MaxPool2x2()
        self.act = style.after_sum(out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in, H, W) → (N, out, H/2, W/2) and the pool's places for the decoder."""
        pooled, place = self.pool(x)
        extended: Tensor = self.extension(x)
        skip = F.pad(pooled, (0, 0, 0, 0, 0, extended.shape[1] - pooled.shape[1]))
        return self.act(skip + extended), place


class UpBottleneck(nn.Module):
    """Fig. 2(b), up-sampling: transposed middle convolution; skip un-pooled with the encoder's places.

    `unpooling` "bilinear" enlarges the skip without them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, style: Style = DEFAULT_STYLE, unpooling: str = "indices"
    ) -> None:
        super().__init__()
        inner = out_channels // 4
        self.extension = style.branch(
            nn.Conv2d(in_channels, inner, 1, bias=False),
            nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1, bias=style.bias),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            0.0,
        )
        projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.skip = nn.Sequential(projection, batch_norm(out_channels))
        self.unpool = MaxUnpool2x2() if unpooling == "indices" else None
        self.act = style.after_sum(out_channels)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """(N, in, H, W) and places (N, out, 4, H, W) → (N, out, 2H, 2W)."""
        skip = self.skip(x)
        if self.unpool is None:
            skip = F.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=False)
        else:
            skip = self.unpool(skip, place)
        result: Tensor = self.act(skip + self.extension(x))
        return result
