"""ESPNet: efficient spatial pyramid of dilated convolutions for semantic segmentation (arXiv 1803.06815).

Section 3 defines the ESP module, Fig. 4 the path ESPNet-A → B → C → ESPNet. Where print and the published
code differ, the code is followed: hierarchical fusion starts at dilation 2, strided modules use K = 5 in B, C
and ESPNet (4 in A), and the decoder's first level joins the image-level maps by one 3×3 convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import NormAct, activation, batch_norm

#: Far beyond the paper's 8 and 8; a file of weights that asks for more is broken or hostile.
MAX_BRANCHES, MAX_DEPTH = 10, 100


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
    ) -> None:
        super().__init__()
        if not 1 <= branches <= min(MAX_BRANCHES, out_channels):
            limit = min(MAX_BRANCHES, out_channels)
            raise ValueError(f"an ESP module of {out_channels} channels has 1 to {limit} branches, not {branches}")
        if reduce_kernel_size not in (1, 3):
            raise ValueError(f"reduce_kernel_size is {reduce_kernel_size}; use 1 or 3")
        narrow = out_channels // branches
        first = out_channels - (branches - 1) * narrow
        kernel_size = 3 if stride == 2 else reduce_kernel_size
        self.residual = residual and stride == 1 and in_channels == out_channels
        self.reduce = ReduceConv2d(in_channels, narrow, kernel_size, stride, kernel_size // 2, bias=False)
        self.branches = nn.ModuleList(
            dilated_conv(narrow, first if k == 0 else narrow, 2**k if dilated else 1) for k in range(branches)
        )
        self.norm = batch_norm(out_channels)
        self.act = activation(act, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H/stride, W/stride)."""
        reduced = self.reduce(x)
        outputs = [branch(reduced) for branch in self.branches]
        # Hierarchical feature fusion: the running sum starts at the second branch (dilation 2).
        for k in range(2, len(outputs)):
            outputs[k] = outputs[k] + outputs[k - 1]
        merged = torch.cat(outputs, dim=1)
        if self.residual:
            merged = merged + x
        result: Tensor = self.act(self.norm(merged))
        return result


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


class ConvNormAct(nn.Sequential):
    """3×3 convolution with stride 2, BatchNorm, activation: the first layer of every variant."""

    def __init__(self, in_channels: int, out_channels: int, act: str = "prelu") -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        super().__init__(conv, NormAct(out_channels, act))


def esp_stack(channels: int, depth: int, branches: int, **options: object) -> nn.Sequential:
    """`depth` residual ESP modules of equal width."""
    if not 0 <= depth <= MAX_DEPTH:
        raise ValueError(f"alpha2 and alpha3 are from 0 to {MAX_DEPTH}, not {depth}")
    return nn.Sequential(*(ESP(channels, channels, branches, **options) for _ in range(depth)))  # type: ignore[arg-type]


def half_size(image: Tensor) -> Tensor:
    """Input reinforcement (section 3.2): the image averaged down by two, border zeros counted."""
    return F.avg_pool2d(image, 3, stride=2, padding=1)


class ESPNetA(SegmentationNetwork):
    """ESPNet-A (Fig. 4a): ESP modules in sequence, nothing joined; logits at 1/8."""

    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        branches: int = 5,
        alpha2: int = 2,
        alpha3: int = 3,
        act: str = "prelu",
        residual: bool = True,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.level1 = ConvNormAct(in_channels, 16, act)
        self.down2 = ESP(16, 64, 4, stride=2, act=act)
        self.level2 = esp_stack(64, alpha2, branches, act=act, residual=residual)
        self.down3 = ESP(64, 128, 4, stride=2, act=act)
        self.level3 = esp_stack(128, alpha3, branches, act=act, residual=residual)
        self.classifier = nn.Conv2d(128, num_classes, 1, bias=False)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        x = self.level1(image)  # (N, 16, H/2, W/2)
        x = self.level2(self.down2(x))  # (N, 64, H/4, W/4)
        x = self.level3(self.down3(x))  # (N, 128, H/8, W/8)
        logits: Tensor = self.classifier(x)
        return logits


class ESPNetB(SegmentationNetwork):
    """ESPNet-B (Fig. 4b): each level's first and last maps are joined; logits at 1/8."""

    output_stride = 8

    def __init__(
        self, num_classes: int, in_channels: int = 3, branches: int = 5, alpha2: int = 2, alpha3: int = 3
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.level1 = ConvNormAct(in_channels, 16)
        self.down2 = ESP(16, 64, 5, stride=2)
        self.level2 = esp_stack(64, alpha2, branches)
        self.join2 = NormAct(128)
        self.down3 = ESP(128, 128, 5, stride=2)
        self.level3 = esp_stack(128, alpha3, branches)
        self.join3 = NormAct(256)
        self.classifier = nn.Conv2d(256, num_classes, 1, bias=False)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        down2 = self.down2(self.level1(image))  # (N, 64, H/4, W/4)
        joined2 = self.join2(torch.cat((self.level2(down2), down2), dim=1))  # (N, 128, H/4, W/4)
        down3 = self.down3(joined2)  # (N, 128, H/8, W/8)
        joined3 = self.join3(torch.cat((down3, self.level3(down3)), dim=1))  # (N, 256, H/8, W/8)
        logits: Tensor = self.classifier(joined3)
        return logits


class ESPNetC(SegmentationNetwork):
    """ESPNet-C (Fig. 4c): B with the image joined in at 1/2 and 1/4; logits at 1/8.

    `reduce_kernel_size=3` is Table 2's C1, `dilated=False` its C3.
    """

    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        branches: int = 5,
        alpha2: int = 2,
        alpha3: int = 3,
        reduce_kernel_size: int = 1,
        dilated: bool = True,
    ) -> None:
        super().__init__(num_classes, in_channels)
        switches = {"reduce_kernel_size": reduce_kernel_size, "dilated": dilated}
        joined1, joined2 = 16 + in_channels, 128 + in_channels
        self.level1 = ConvNormAct(in_channels, 16)
        self.join1 = NormAct(joined1)
        self.down2 = ESP(joined1, 64, 5, stride=2, dilated=dilated)
        self.level2 = esp_stack(64, alpha2, branches, **switches)
        self.join2 = NormAct(joined2)
        self.down3 = ESP(joined2, 128, 5, stride=2, dilated=dilated)
        self.level3 = esp_stack(128, alpha3, branches, **switches)
        self.join3 = NormAct(256)
        self.classifier = nn.Conv2d(256, num_classes, 1, bias=False)
        initialise(self)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, in, H, W) → level 1 (16, 1/2), joined 1 (16+in, 1/2) and 2 (128+in, 1/4), logits (C, 1/8)."""
        half = half_size(image)
        level1 = self.level1(image)  # (N, 16, H/2, W/2)
        joined1 = self.join1(torch.cat((level1, half), dim=1))  # (N, 16 + in, H/2, W/2)
        down2 = self.down2(joined1)  # (N, 64, H/4, W/4)
        reinforced2 = torch.cat((self.level2(down2), down2, half_size(half)), dim=1)
        joined2 = self.join2(reinforced2)  # (N, 128 + in, H/4, W/4)
        down3 = self.down3(joined2)  # (N, 128, H/8, W/8)
        # The order differs from level 2's: the published weights have it so.
        joined3 = self.join3(torch.cat((down3, self.level3(down3)), dim=1))  # (N, 256, H/8, W/8)
        return level1, joined1, joined2, self.classifier(joined3)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        return self.features(image)[-1]


class ESPNet(SegmentationNetwork):
    """ESPNet (Fig. 4d): ESPNet-C and a decoder of reduce, up-sample, merge; full-size logits.

    `decoder_channels` is what the last level reads beside the class maps: 16 (level 1's output; the paper's
    count and the Cityscapes weights) or 16 + in_channels = 19 (joined with the image; the published CamVid
    weights).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        branches: int = 5,
        alpha2: int = 2,
        alpha3: int = 8,
        decoder_channels: int = 16,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if decoder_channels not in (16, 16 + in_channels):
            raise ValueError(f"decoder_channels is {decoder_channels}; use 16 or {16 + in_channels}")
        c = num_classes
        self.decoder_channels = decoder_channels
        self.encoder = ESPNetC(c, in_channels, branches, alpha2, alpha3)
        self.norm3 = batch_norm(c)
        self.up3 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=False)
        self.project2 = nn.Conv2d(128 + in_channels, c, 1, bias=False)
        self.merge2_norm = NormAct(2 * c)
        # With fewer classes than branches some branches would be empty.
        self.merge2 = ESP(2 * c, c, min(5, c), residual=False)
        self.up2 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=False)
        self.up2_norm = NormAct(c)
        self.merge1 = nn.Conv2d(decoder_channels + c, c, 3, padding=1, bias=False)
        self.merge1_norm = NormAct(c)
        self.up1 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=False)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        level1, joined1, joined2, logits8 = self.encoder.features(image)
        up3 = self.up3(self.norm3(logits8))  # (N, C, H/4, W/4)
        merged2 = self.merge2(self.merge2_norm(torch.cat((self.project2(joined2), up3), dim=1)))
        up2 = self.up2_norm(self.up2(merged2))  # (N, C, H/2, W/2)
        detail = level1 if self.decoder_channels == 16 else joined1
        merged1 = self.merge1_norm(self.merge1(torch.cat((up2, detail), dim=1)))
        logits: Tensor = self.up1(merged1)
        return logits

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over the ESPNet-C that stage 1 trained, its classifier included."""
        if not isinstance(encoder, ESPNetC):
            return super().load_encoder(encoder)
        self.encoder.load_state_dict(encoder.state_dict())
        return None
