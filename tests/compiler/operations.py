"""Every operation that compiles, as small modules of one 3-channel image, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: From a map of six channels to a tensor of any shape.
Function = Callable[[Tensor], Any]


class Case(nn.Module):
    """A function of six channels made from the image, or layers behind them."""

    def __init__(self, body: nn.Module | Function) -> None:
        super().__init__()
        self.body = body
        self.stem = nn.Conv2d(3, 6, 1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.body(self.stem(image))
        return result


class Together(nn.Module):
    """The results of all cases of a family, flattened one behind the other, and their negatives: (1, 2, 1, all)."""

    def __init__(self, cases: Mapping[str, nn.Module | Function]) -> None:
        super().__init__()
        self.cases = nn.ModuleList(Case(body) for body in cases.values())

    def forward(self, image: Tensor) -> Tensor:
        flat = torch.cat([case(image).reshape(1, 1, 1, -1) for case in self.cases], dim=3)
        return torch.cat((flat, -flat), dim=1)


class Gate(nn.Module):
    """Squeeze and excitation, with Linear layers on pooled and flattened maps."""

    def __init__(self, squeeze: Function) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.down, self.up = nn.Linear(6, 3), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.up(F.relu(self.down(self.squeeze(x)))))
        return x * gate.view(1, 6, 1, 1)


class OnLastAxis(nn.Module):
    """A layer of channels-last tensors."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result


class OfTokens(nn.Module):
    """The same on (1, pixels, channels)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return tokens.reshape(1, -1, *x.shape[2:])


class Biased(nn.Module):
    """A parameter that is added as a map, and one a channel."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(shape))
        self.scale = nn.Parameter(torch.randn(1, 6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.offset) * self.scale / 3


class UnpooledByIndices(nn.Module):
    """Pooling, something in between, and un-pooling by the indices."""

    def __init__(self, between: nn.Module, *window: Any, size: Callable[[Tensor], list[int]] | None = None) -> None:
        super().__init__()
        self.between, self.window, self.size = between, window, size

    def forward(self, x: Tensor) -> Tensor:
        values, indices = F.max_pool2d(x, *self.window, return_indices=True)
        size = self.size(x) if self.size else list(x.shape[2:])
        stride = self.window[1] if len(self.window) > 1 else None
        return F.max_unpool2d(self.between(values), indices, self.window[0], stride, output_size=size)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle as ShuffleNet writes it."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def in_place(x: Tensor) -> Tensor:
    """What happens in place is seen by everybody who looks later."""
    y = x * 2
    part = y[:, 2:4].relu_()
    y[:, :1] = x[:, 1:2]
    y.add_(1)
    return y + part.sum(1, keepdim=True)


FAMILIES: dict[str, dict[str, nn.Module | Function]] = {}


def family(name: str, **cases: nn.Module | Function) -> None:
    FAMILIES[name] = cases


torch.manual_seed(20)

family(
    "convolution",
    grouped=nn.Conv2d(6, 9, 3, padding=1, groups=3),
    uneven=nn.Conv2d(6, 5, (3, 2), stride=(2, 3), padding=(2, 1), dilation=(2, 3)),
    same=nn.Conv2d(6, 4, 4, padding="same", dilation=2),
    wide=nn.Conv2d(6, 3, (1, 9), padding=(0, 4)),
    reflected=nn.Conv2d(6, 3, 3, padding=1, padding_mode="reflect"),
    normed=nn.Sequential(nn.Conv2d(6, 7, 3, bias=False), nn.BatchNorm2d(7), nn.PReLU(7)),
)
family(
    "depthwise",
    plain=nn.Conv2d(6, 6, 3, padding=1, groups=6),
    strided=nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6),
    dilated=nn.Conv2d(6, 6, 5, padding=4, dilation=2, groups=6, bias=False),
    multiplied=nn.Sequential(nn.Conv2d(6, 18, (3, 5), stride=(1, 3), padding=(0, 2), groups=6), nn.BatchNorm2d(18)),
    large=nn.Sequential(nn.Conv2d(6, 6, 9, padding=4, groups=6), nn.ReLU6()),
    gated=lambda x: F.silu(F.conv2d(x, torch.full((6, 1, 3, 3), 0.1), padding=1, groups=6)) + x,
    even=nn.Conv2d(6, 6, 2, stride=4, groups=6),
)
family(
    "transposed convolution",
    third=nn.ConvTranspose2d(6, 4, 4, stride=3, padding=1, output_padding=2, groups=2, dilation=2),
    same=nn.ConvTranspose2d(6, 4, 3, padding=1),
    odd=nn.ConvTranspose2d(6, 4, 3, stride=2),
    cropped=nn.ConvTranspose2d(6, 4, 2, stride=2, padding=1, bias=False),
    uneven=nn.ConvTranspose2d(6, 3, (1, 4), stride=(2, 1), padding=(0, 3), groups=3),
    gaps=nn.Sequential(nn.ConvTranspose2d(6, 6, 2, stride=4, output_padding=1, groups=6), nn.BatchNorm2d(6)),
    plain=nn.Sequential(nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1), nn.PReLU()),
)
family(
    "activations",
    prelu=nn.PReLU(6),
    relu=nn.ReLU(inplace=True),
    relu6=nn.ReLU6(),
    elu=nn.ELU(0.7),
    silu=nn.SiLU(),
    sigmoid=nn.Sigmoid(),
    hard_swish=nn.Hardswish(),
    hard_sigmoid=nn.Hardsigmoid(),
    tanh=nn.Tanh(),
    gelu=nn.GELU(),
    gelu_tanh=nn.GELU("tanh"),
    leaky_relu=nn.LeakyReLU(0.2),
    clip=lambda x: F.hardtanh(x, -0.5, 0.7) + x.clamp(min=0.1) + torch.clamp_max(x, 0.2),
    norm=nn.BatchNorm2d(6),
)
family(
    "arithmetic",
    residual=lambda x: x + x * x.flip(3),
    numbers=lambda x: (2 - x) / 3 + x * 0.5 - 1,
    quotient=lambda x: x / (x * x).sum(1, keepdim=True).add(2) + 1 / (x * x + 2),
    gate=lambda x: x * x.mean((2, 3), keepdim=True),
    over_channels=lambda x: x * x.mean(1, keepdim=True) - x[:, :1],
    limits=lambda x: torch.maximum(x, x.flip(1)) + torch.minimum(x[:, :, :1], x),
    scalar_map=lambda x: x + x.mean(),
    by_map=Biased(1, 1, 1, 1),
    by_row=Biased(6, 1, 1),
    in_place=in_place,
    scaled=lambda x: torch.add(x, x.flip(2), alpha=0.25) + torch.neg(x) ** 2,
)
family(
    "linear",
    gate=Gate(lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)),
    means=Gate(lambda x: x.mean((2, 3))),
    channels_last=OnLastAxis(nn.Linear(6, 4)),
    mlp=OnLastAxis(nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6, bias=False))),
    tokens=OfTokens(nn.Sequential(nn.Linear(6, 5), nn.ReLU())),
    vector=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 7), nn.BatchNorm1d(7), nn.PReLU(7)),
)
family(
    "moving",
    concat=lambda x: torch.cat((x, x[:, 1:3], x), 1),
    rows=lambda x: torch.cat((x[:, :, 3:], x), 2),
    columns=lambda x: torch.cat((x, x[..., 2:5]), 3),
    halves=lambda x: torch.cat(x.chunk(2, 1)[::-1], 1) + torch.cat(x.split([2, 4], 1)[::-1], 1),
    every_second=lambda x: x[:, ::2, 1::2, ::3],
    shuffle=lambda x: shuffled(x, 3),
    own_shuffle=nn.ChannelShuffle(2),
    to_pixels=lambda x: F.pixel_shuffle(torch.cat((x, x, x), 1), 3),
    from_pixels=lambda x: F.pixel_unshuffle(x[:, :, :6, :9], 3),
    stacked=lambda x: torch.stack((x, x * 2), 2).flatten(1, 2),
    unbound=lambda x: torch.stack(x.unbind(1)[::-1], 1),
    chosen=lambda x: x[:, [4, 0, 0, 2]],
    transposed=lambda x: x.transpose(2, 3),
    repeated=lambda x: x.repeat(1, 2, 1, 1) + x[:, :1].expand(-1, 12, -1, -1),
    rolled=lambda x: torch.roll(x, (1, -2), (1, 3)),
    selected=lambda x: x[:, 2].unsqueeze(1) * x,
)
family(
    "padding",
    zeros=lambda x: F.pad(x, (1, 2, 0, 3)),
    channels=lambda x: F.pad(x, (0, 0, 0, 0, 2, 1)) * 2,
    crop=lambda x: F.pad(x, (-1, -2, -1, 0)),
    both=lambda x: F.pad(x, (2, -2, -1, 1)),
    reflect=lambda x: F.pad(x, (2, 1, 1, 2), mode="reflect"),
    replicate=nn.ReplicationPad2d((1, 0, 2, 3)),
    circular=nn.CircularPad2d(2),
)
family(
    "max-pool",
    padded=nn.Sequential(nn.Hardtanh(-9, -1), nn.MaxPool2d(3, 2, 1)),
    rounded_up=nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    dilated=nn.MaxPool2d((2, 3), (1, 3), (1, 1), dilation=(3, 2)),
    plain=nn.Sequential(nn.MaxPool2d(2), nn.PReLU(6)),
    global_=lambda x: x.amax((2, 3), keepdim=True) + nn.AdaptiveMaxPool2d((2, 3))(x),
    channels=lambda x: x.max(1, keepdim=True)[0],
)
family(
    "unpool",
    side_by_side=UnpooledByIndices(nn.Conv2d(6, 6, 1), 2),
    plain=UnpooledByIndices(nn.Identity(), 2),
    overlapping=UnpooledByIndices(nn.Identity(), 3, 2),
    third=UnpooledByIndices(nn.ReLU(), 3, 3),
    added=lambda x: x + UnpooledByIndices(nn.Tanh(), 2)(x),
)
family(
    "average pool",
    counted=nn.AvgPool2d(3, 2, 1),
    uncounted=nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    rounded_up=nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    rounded_uncounted=nn.AvgPool2d((2, 3), (3, 2), (1, 0), ceil_mode=True, count_include_pad=False),
    divided=nn.AvgPool2d(2, ceil_mode=True, divisor_override=3),
    plain=nn.Sequential(nn.AvgPool2d((2, 3), 1), nn.ReLU()),
    whole=nn.AdaptiveAvgPool2d(1),
    parts=nn.AdaptiveAvgPool2d((3, 4)),
    finer=nn.AdaptiveAvgPool2d((17, 5)),
    rows=lambda x: x.mean(2) * x.sum(3, keepdim=True).mean(2),
)
family(
    "resize",
    twice=lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    twice_corners=lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    by_size=lambda x: F.interpolate(x, size=(13, 40), mode="bilinear"),
    by_size_corners=nn.UpsamplingBilinear2d((1, 17)),
    smaller=lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear"),
    factor=lambda x: F.interpolate(x, scale_factor=(1.7, 2.3), mode="bilinear"),
    recomputed=lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
    nearest=lambda x: F.interpolate(x, scale_factor=2),
    nearest_size=lambda x: F.interpolate(x, size=(5, 31)),
    nearest_factor=lambda x: F.interpolate(x, scale_factor=(1.7, 0.4)),
    nearest_exact=lambda x: F.interpolate(x, scale_factor=1.6, mode="nearest-exact"),
    from_a_pixel=lambda x: F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:], mode="bilinear"),
)
family(
    "normalisation",
    response=nn.LocalResponseNorm(5, alpha=0.3),
    response_even=nn.LocalResponseNorm(2, alpha=0.01, beta=0.5, k=2.0),
    response_wide=lambda x: F.local_response_norm(x * 3, 9),
    softmax=nn.Softmax(1),
    channels=nn.Softmax2d(),
    log_softmax=nn.LogSoftmax(1),
    softmax_rows=lambda x: F.softmax(x * 20, 3),
    softmax_pixels=lambda x: F.softmax(x.flatten(2), -1),
)
