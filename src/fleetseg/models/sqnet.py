"""SQNet (Treml et al., "Speeding up semantic segmentation for autonomous driving", 2016).

The wider of the two public definitions (16.3 M parameters); the other one starts from SqueezeNet 1.1's encoder, and
print does not settle which was meant. Every convolution has a bias; there is no normalisation.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.widths import scaled


class Fire(nn.Module):
    """SqueezeNet's module: 1×1 squeeze, then 1×1 and 3×3 side by side, ELU after each."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 2·expanded, H, W)."""
        squeezed = F.elu(self.squeeze(x))
        return F.elu(torch.cat((self.expand1(squeezed), self.expand3(squeezed)), dim=1))


class ParallelDilated(nn.Module):
    """The sum of four 3×3 convolutions with dilation 1 to 4, ELU after each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation) for dilation in range(1, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        first, *others = (F.elu(branch(x)) for branch in self.branches)
        for other in others:
            first = first + other
        return first


class Refinement(nn.Module):
    """Doubles the size, joins the encoder's map behind a 3×3 convolution, and merges both by another."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, skip_channels, 3, stride=2, padding=1, output_padding=1)
        self.skip = nn.Conv2d(skip_channels, skip_channels, 3, padding=1)
        self.merge = nn.Conv2d(2 * skip_channels, 2 * skip_channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, in, H, W) and (N, s, 2H, 2W) → (N, 2·s, 2H, 2W)."""
        up, kept = F.elu(self.up(x)), F.elu(self.skip(skip))
        return F.elu(self.merge(torch.cat((kept, up), dim=1)))


class SQNet(SegmentationNetwork):
    """SqueezeNet's Fire modules, parallel dilated convolutions and refinement; 16,229,920 + 1,729·C parameters."""

    size_multiple = 16

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        stem, *expanded = (scaled(channels, width) for channels in (96, 64, 128, 256))
        squeezed = [scaled(channels, width) for channels in (16, 32, 64)]
        e1, e2, e3 = expanded
        self.conv1 = nn.Conv2d(in_channels, stem, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fire1 = nn.Sequential(Fire(stem, squeezed[0], e1), Fire(2 * e1, squeezed[0], e1))
        self.fire2 = nn.Sequential(Fire(2 * e1, squeezed[1], e2), Fire(2 * e2, squeezed[1], e2))
        wide = [Fire(before, squeezed[2], e3) for before in (2 * e2, 2 * e3, 2 * e3)]
        self.fire3 = nn.Sequential(*wide)
        self.parallel = ParallelDilated(2 * e3)
        self.up1 = Refinement(2 * e3, 2 * e2)
        self.up2 = Refinement(4 * e2, 2 * e1)
        self.up3 = Refinement(4 * e1, stem)
        self.up4 = nn.ConvTranspose2d(2 * stem, num_classes, 3, stride=2, padding=1, output_padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        a = F.elu(self.conv1(image))  # (N, 96, H/2, W/2)
        b = self.fire1(self.pool(a))  # (N, 128, H/4, W/4)
        c = self.fire2(self.pool(b))  # (N, 256, H/8, W/8)
        x = self.parallel(self.fire3(self.pool(c)))  # (N, 512, H/16, W/16)
        x = self.up1(x, c)  # (N, 512, H/8, W/8)
        x = self.up2(x, b)  # (N, 256, H/4, W/4)
        x = self.up3(x, a)  # (N, 192, H/2, W/2)
        logits: Tensor = self.up4(x)
        return logits
