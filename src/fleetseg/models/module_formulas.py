"""Sizes of the modules in closed form: Fig. 3(g) of ESPNet's paper, and ResNet's by the same rules.

As there, convolutions alone are counted: parameters without BatchNorm and activations, memory as the values that
convolutions put out, effective receptive field as the side of a square. Where d does not divide the channels evenly,
the first branch has the remainder (footnote 4), which these formulas count and the printed ones leave out.
tests/models/test_modules.py compares them with the built modules.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetseg.errors import UnknownNameError
from fleetseg.models.esp import branch_widths
from fleetseg.models.modules import MODULES


@dataclass(frozen=True)
class ModuleSizes:
    """What the formulas are about, in the paper's letters: M to N channels, n × n kernels, K branches, g groups."""

    in_channels: int
    out_channels: int
    kernel_size: int = 3
    branches: int = 5
    groups: int = 4
    #: ShuffleNet's N/d; the other modules divide by K.
    width_divider: int = 4
    width: int = 56
    height: int = 56


#: The example of Fig. 3(g): d = N/K = 20 for all.
FIGURE_3G = ModuleSizes(100, 100, branches=5, groups=2, width_divider=5)


def module_parameters(name: str, sizes: ModuleSizes) -> int:
    """Weights of the module's convolutions; `UnknownNameError` for a module that there is not."""
    m, n_out, taps = sizes.in_channels, sizes.out_channels, sizes.kernel_size**2
    widths = branch_widths(n_out, sizes.branches)
    d = widths[-1]
    match _known(name):
        case "mobilenet":
            return m * (taps + n_out)
        case "shufflenet":
            d = n_out // sizes.width_divider
            return d * (m + n_out) // sizes.groups + taps * d
        case "inception":
            return sum(m * width + taps * width**2 for width in widths)
        case "resnext":
            return sizes.branches * (m * d + d**2 * taps + d * n_out)
        case "resnet":
            return taps * (m * n_out + n_out**2)
        case "asp":
            return sizes.branches * m * n_out * taps
        case _:
            return m * d + taps * d * n_out


def module_memory(name: str, sizes: ModuleSizes) -> int:
    """Bytes of the maps (float32) that the module's convolutions put out."""
    m, n_out, k = sizes.in_channels, sizes.out_channels, sizes.branches
    d = branch_widths(n_out, k)[-1]
    channels = {
        "mobilenet": m + n_out,
        "shufflenet": 2 * (n_out // sizes.width_divider) + n_out,
        "inception": 2 * n_out,
        "resnext": k * (2 * d + n_out),
        "resnet": 2 * n_out,
        "asp": k * n_out,
        "esp": d + n_out,
    }
    return 4 * sizes.width * sizes.height * channels[_known(name)]


def module_receptive_field(name: str, sizes: ModuleSizes) -> int:
    """Side of the square of input pixels that one output pixel depends on."""
    reach = sizes.kernel_size - 1
    if _known(name) in ("esp", "asp"):
        return (reach << (sizes.branches - 1)) + 1
    return 2 * reach + 1 if name == "resnet" else sizes.kernel_size


def _known(name: str) -> str:
    if name not in MODULES:
        raise UnknownNameError("module", name, MODULES)
    return name
