"""ESPNet's choices of design, which Table 2 and Fig. 5 of its paper compare: options of every network of the family."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fleetseg.errors import UnknownNameError
from fleetseg.models.blocks import NormAct
from fleetseg.models.esp import ESP, check_branches
from fleetseg.models.modules import MODULES, WITH_BRANCHES, build_module

#: Far beyond the paper's 8; a file of weights that asks for more is broken or hostile.
MAX_DEPTH = 100


@dataclass(frozen=True)
class Switches:
    """What may be chosen in each network of the family; the defaults are the paper's final choice."""

    #: K, the width divider of the modules that keep the size (Table 2(e)).
    branches: int = 5
    #: "prelu" or "relu" (Table 2(a)).
    act: str = "prelu"
    #: The modules' skip connection (Table 2(b)).
    residual: bool = True
    #: Hierarchical feature fusion: from the "first" branch, the "second", or "off" (section 3.1).
    fusion: str = "second"
    #: 3×3 in place of ESP's 1×1 reduce (Table 2(d), C1).
    reduce_kernel_size: int = 1
    #: False: standard convolutions in the pyramid (Table 2(d), C3).
    dilated: bool = True
    #: What stands in ESP's place where the size is kept (Fig. 5); see `modules.MODULES`.
    module: str = "esp"
    #: "esp", or "conv": 3×3 with stride 2 (Table 2(c)).
    downsampling: str = "esp"
    #: K of the strided modules.
    down_branches: int = 5
    #: A constant added to each class's logit, which the paper has not: what `fleetseg adjust` needs.
    class_bias: bool = False

    def __post_init__(self) -> None:
        if self.module not in MODULES:
            raise UnknownNameError("module", self.module, MODULES)
        if self.downsampling not in ("esp", "conv"):
            raise ValueError(f"downsampling is {self.downsampling!r}; use 'esp' or 'conv'")
        if self.module != "esp" and self.reduce_kernel_size != 1:
            raise ValueError(
                f"reduce_kernel_size is {self.reduce_kernel_size}, "
                f"but module '{self.module}' has no ESP's reduce; use 1"
            )
        if self.module not in WITH_BRANCHES and self.branches != Switches.branches:
            raise ValueError(f"branches is {self.branches}, but module '{self.module}' has none; leave it at 5")
        # Also where "conv" down-samples and nothing reads it.
        check_branches("strided ESP", 1024, self.down_branches)

    def keep(self, channels: int, depth: int) -> nn.Sequential:
        """`depth` modules of equal width that keep the size."""
        if not 0 <= depth <= MAX_DEPTH:
            raise ValueError(f"alpha2 and alpha3 are from 0 to {MAX_DEPTH}, not {depth}")
        return nn.Sequential(*(self._module(channels) for _ in range(depth)))

    def _module(self, channels: int) -> nn.Module:
        if self.module != "esp":
            return build_module(
                self.module, channels, channels, branches=self.branches, act=self.act, residual=self.residual
            )
        return ESP(
            channels,
            channels,
            self.branches,
            act=self.act,
            residual=self.residual,
            reduce_kernel_size=self.reduce_kernel_size,
            dilated=self.dilated,
            fusion=self.fusion,
        )

    def down(self, in_channels: int, out_channels: int) -> nn.Module:
        """What halves the size."""
        if self.downsampling == "conv":
            return ConvNormAct(in_channels, out_channels, self.act)
        return ESP(
            in_channels,
            out_channels,
            self.down_branches,
            stride=2,
            act=self.act,
            dilated=self.dilated,
            fusion=self.fusion,
        )


@dataclass(frozen=True)
class SwitchesOfA(Switches):
    """ESPNet-A's strided modules have K = 4."""

    down_branches: int = 4


class ConvNormAct(nn.Sequential):
    """3×3 convolution with stride 2, BatchNorm, activation: the first layer of every variant."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "prelu") -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        super().__init__(conv, NormAct(out_channels, act))
