"""The modules that ESPNet's paper compares with ESP (Fig. 3 and 5), behind one interface.

`build_module` makes any of them by name, `ESPNet(module=…)` puts it in ESP's place. All keep the size of the maps, and
each ends, as ESP does, in BatchNorm and activation after its concatenation, sum and residual. Inner convolutions have
BatchNorm and activation of their own, except ShuffleNet's depthwise one, which has BatchNorm alone. Which modules have
a residual is the paper's: ShuffleNet, ResNext, ResNet, ESP. Sizes: `module_formulas`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fleetseg.errors import UnknownNameError
from fleetseg.models.blocks import NormAct, activation, batch_norm
from fleetseg.models.esp import ESP, branch_widths, check_branches


def conv(in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    """A bias-free convolution that keeps the size."""
    padding = dilation * (kernel_size // 2)
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, groups=groups, bias=False
    )


class MobileNetModule(nn.Sequential):
    """Fig. 3(a): depthwise 3×3, then 1×1; (N, M, H, W) → (N, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "prelu") -> None:
        super().__init__(
            conv(in_channels, in_channels, 3, groups=in_channels),
            NormAct(in_channels, act),
            conv(in_channels, out_channels, 1),
            NormAct(out_channels, act),
        )


class ShuffleNetModule(nn.Module):
    """Fig. 3(b): grouped 1×1 reduce, channel shuffle, depthwise 3×3, grouped 1×1 expand, residual."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        act: str = "prelu",
        residual: bool = True,
        groups: int = 4,
        width_divider: int = 4,
    ) -> None:
        super().__init__()
        narrow = out_channels // width_divider
        for channels in (in_channels, out_channels, narrow):
            if channels % groups or channels < groups:
                raise ValueError(
                    f"a ShuffleNet module of {in_channels} to {out_channels} channels and inner width {narrow} cannot "
                    f"have {groups} groups; all three must be multiples of it"
                )
        self.groups = groups
        self.residual = residual and in_channels == out_channels
        self.reduce = nn.Sequential(conv(in_channels, narrow, 1, groups=groups), NormAct(narrow, act))
        self.depthwise = nn.Sequential(conv(narrow, narrow, 3, groups=narrow), batch_norm(narrow))
        self.expand = conv(narrow, out_channels, 1, groups=groups)
        self.norm_act = NormAct(out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, M, H, W) → (N, out, H, W)."""
        # Written out: the ONNX exporter does not know channel_shuffle.
        shuffled = self.reduce(x).unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        y = self.expand(self.depthwise(shuffled))
        result: Tensor = self.norm_act(x + y if self.residual else y)
        return result


class InceptionModule(nn.Module):
    """Fig. 3(c), all branches alike: K × (1×1 → 3×3), concatenated."""

    def __init__(self, in_channels: int, out_channels: int, branches: int = 5, act: str = "prelu") -> None:
        super().__init__()
        check_branches("Inception", out_channels, branches)
        self.branches = nn.ModuleList(
            nn.Sequential(conv(in_channels, width, 1), NormAct(width, act), conv(width, width, 3))
            for width in branch_widths(out_channels, branches)
        )
        self.norm_act = NormAct(out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, M, H, W) → (N, out, H, W)."""
        # The branches' own BatchNorm and activation are those of their concatenation.
        result: Tensor = self.norm_act(torch.cat([branch(x) for branch in self.branches], dim=1))
        return result


class ResNextModule(nn.Module):
    """Fig. 3(d): K × (1×1 → 3×3 → 1×1), summed, residual."""

    def __init__(
        self, in_channels: int, out_channels: int, branches: int = 5, act: str = "prelu", residual: bool = True
    ) -> None:
        super().__init__()
        check_branches("ResNext", out_channels, branches)
        narrow = out_channels // branches
        self.residual = residual and in_channels == out_channels
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv(in_channels, narrow, 1),
                NormAct(narrow, act),
                conv(narrow, narrow, 3),
                NormAct(narrow, act),
                conv(narrow, out_channels, 1),
            )
            for _ in range(branches)
        )
        self.norm_act = NormAct(out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, M, H, W) → (N, out, H, W)."""
        total = x if self.residual else None
        for branch in self.branches:
            total = branch(x) if total is None else total + branch(x)
        result: Tensor = self.norm_act(total)
        return result


class ResNetModule(nn.Module):
    """Two 3×3 convolutions and a residual (Fig. 5's "ResNet")."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "prelu", residual: bool = True) -> None:
        super().__init__()
        self.residual = residual and in_channels == out_channels
        self.first = nn.Sequential(conv(in_channels, out_channels, 3), NormAct(out_channels, act))
        self.second = conv(out_channels, out_channels, 3)
        self.norm = batch_norm(out_channels)
        self.act = activation(act, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, M, H, W) → (N, out, H, W)."""
        y = self.second(self.first(x))
        result: Tensor = self.act(self.norm(x + y if self.residual else y))
        return result


class ASPModule(nn.Module):
    """Fig. 3(e), atrous spatial pyramid: K × 3×3 of full width, dilation 1, 2, 4, …, summed."""

    def __init__(self, in_channels: int, out_channels: int, branches: int = 5, act: str = "prelu") -> None:
        super().__init__()
        check_branches("ASP", out_channels, branches)
        self.branches = nn.ModuleList(conv(in_channels, out_channels, 3, dilation=2**k) for k in range(branches))
        self.norm_act = NormAct(out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, M, H, W) → (N, out, H, W)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        result: Tensor = self.norm_act(total)
        return result


#: Name → constructor; which of `branches`, `act`, `residual`, `groups` and `width_divider` it takes is its own matter.
MODULES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "esp": ESP,
        "mobilenet": MobileNetModule,
        "shufflenet": ShuffleNetModule,
        "inception": InceptionModule,
        "resnext": ResNextModule,
        "resnet": ResNetModule,
        "asp": ASPModule,
    }
)

#: Those of them that add their input to their output.
WITH_RESIDUAL = ("esp", "shufflenet", "resnext", "resnet")
#: Those of them that have K branches.
WITH_BRANCHES = ("esp", "inception", "resnext", "asp")


def build_module(
    name: str,
    in_channels: int,
    out_channels: int,
    *,
    branches: int = 5,
    groups: int = 4,
    width_divider: int = 4,
    act: str = "prelu",
    residual: bool = True,
) -> nn.Module:
    """The module of that name from (N, in, H, W) to (N, out, H, W), with fresh weights.

    `branches` is K; `groups` and `width_divider` are ShuffleNet's. What a module does not have is not asked of it.
    Raises `UnknownNameError` (with the nearest names), and `ValueError` for sizes that are impossible.
    """
    if name not in MODULES:
        raise UnknownNameError("module", name, MODULES)
    if in_channels < 1 or out_channels < 1:
        raise ValueError(f"a module from {in_channels} to {out_channels} channels is impossible; at least 1 is needed")
    options: dict[str, object] = {"act": act}
    if name in WITH_BRANCHES:
        options["branches"] = branches
    if name in WITH_RESIDUAL:
        options["residual"] = residual
    if name == "shufflenet":
        options |= {"groups": groups, "width_divider": width_divider}
    return MODULES[name](in_channels, out_channels, **options)
