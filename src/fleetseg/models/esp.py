"""The efficient spatial pyramid, ESPNet's module (arXiv 1803.06815, section 3.1 and Fig. 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.blocks import activation, batch_norm

#: Far beyond the paper's 8; a file of weights that asks for more is broken or hostile.
MAX_BRANCHES = 10

#: Where the running sum of hierarchical feature fusion starts: nowhere, at the first branch (as Fig. 1(b) may be
#: read), or at the second (as the published code does).
FUSIONS = ("off", "first", "second")


class ESP(nn.Module):
    """Efficient spatial pyramid (section 3.1, Fig. 1): reduce, split, dilated transform, fusion, merge.

    A 1×1 reduce (strided: 3×3, stride 2) to n = ⌊N/K⌋ maps; K parallel 3×3 branches with dilation 2^k; the
    sums of hierarchical feature fusion; concatenation, residual where sizes allow it, BatchNorm and
    activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        branches: int = 5,
        *,
        stride: int = 1,
        act: str = "prelu",
        residual: bool = True,
        reduce_kernel_size: int = 1,
        dilated: bool = True,
        fusion: str = "second",
    ) -> None:
        super().__init__()
        check_branches("ESP", out_channels, branches)
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}; use one of {', '.join(FUSIONS)}")
        if reduce_kernel_size not in (1, 3):
            raise ValueError(f"reduce_kernel_size is {reduce_kernel_size}; use 1 or 3")
        widths = branch_widths(out_channels, branches)
        narrow = widths[-1]
        kernel_size = 3 if stride == 2 else reduce_kernel_size
        self.residual = residual and stride == 1 and in_channels == out_channels
        self.reduce = ReduceConv2d(in_channels, narrow, kernel_size, stride, kernel_size // 2, bias=False)
        self.branches = nn.ModuleList(
            dilated_conv(narrow, width, 2**k if dilated else 1) for k, width in enumerate(widths)
        )
        self.fusion = fusion
        self.norm = batch_norm(out_channels)
        self.act = activation(act, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H/stride, W/stride)."""
        reduced = self.reduce(x)
        outputs = [branch(reduced) for branch in self.branches]
        merged = torch.cat(fused(outputs, self.fusion), dim=1)
        if self.residual:
            merged = merged + x
        result: Tensor = self.act(self.norm(merged))
        return result


def check_branches(module: str, out_channels: int, branches: int) -> None:
    """`ValueError` unless every branch gets a channel."""
    limit = min(MAX_BRANCHES, out_channels)
    if not 1 <= branches <= limit:
        raise ValueError(f"an {module} module of {out_channels} channels has 1 to {limit} branches, not {branches}")


def branch_widths(channels: int, branches: int) -> tuple[int, ...]:
    """Channels of each branch: ⌊N/K⌋, the first also what remains (footnote 4 of the paper)."""
    narrow = channels // branches
    return (channels - (branches - 1) * narrow, *[narrow] * (branches - 1))


def fused(outputs: list[Tensor], start: str) -> list[Tensor]:
    """Hierarchical feature fusion: each branch's maps and those of the branches before it, summed.

    The first branch may be wider than the rest; with `start` "first" its surplus channels go into no sum.
    """
    if start == "off":
        return outputs
    sums = list(outputs)
    for k in range(1 if start == "first" else 2, len(sums)):
        before = sums[k - 1]
        sums[k] = sums[k] + (before[:, : sums[k].shape[1]] if k == 1 else before)
    return sums


class ReduceConv2d(nn.Conv2d):
    """A convolution that appends empty channels to its output where the dilated ones after it need them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out or a little more, H/stride, W/stride)."""
        weight = padded(self.weight, gradient_safe_padding(x, self.out_channels), dim=0)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class PaddableConv2d(nn.Conv2d):
    """A convolution that also takes an input with further, empty, channels at its end."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in + any, H, W) → (N, out, H, W)."""
        weight = padded(self.weight, x.shape[1] - self.in_channels, dim=1)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def dilated_conv(in_channels: int, out_channels: int, dilation: int) -> nn.Conv2d:
    """A bias-free 3×3 convolution that keeps the size."""
    return PaddableConv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False)


def padded(weight: Tensor, extra: int, dim: int) -> Tensor:
    """A convolution's weight with `extra` zero output (dim 0) or input (dim 1) channels at the end."""
    if extra == 0:
        return weight
    ends = (0, 0, 0, 0, 0, extra) if dim == 1 else (0, 0, 0, 0, 0, 0, 0, extra)
    return F.pad(weight, ends)


def gradient_safe_padding(x: Tensor, channels: int) -> int:
    """How many empty channels keep oneDNN's dilated convolutions right when `x` is reduced to `channels`.

    torch 2.13 on CPUs with AVX-512: 3×3, dilation ≥ 2, bf16, channels_last, and more than 16 input channels that
    are no multiple of 16 (ESPNet's 25) give weight gradients that are silently wrong (relative error 0.8, NaN) or
    write outside their memory (docs/log.md). 32 channels, seven of them empty, are right.
    """
    if channels <= 16 or channels % 16 == 0 or not torch.is_grad_enabled() or x.device.type != "cpu":
        return 0
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return -channels % 16 if autocast or x.dtype == torch.bfloat16 else 0
