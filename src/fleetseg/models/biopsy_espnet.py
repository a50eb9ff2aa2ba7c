"""The ESP-based breast-biopsy network of ESPNet's Table 1(d): the segmentation branch of Y-Net (arXiv 1806.01313).

Convolutions have no bias, BatchNorm's epsilon is 10⁻³ and its momentum 0.95. Enlargements align corners, as in the
published weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fleetseg.models.adaptive_pooling import AdaptiveAveragePool
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.bilinear import resized
from fleetseg.models.blocks import NormAct, batch_norm
from fleetseg.models.esp import ESP
from fleetseg.models.widths import scaled

#: Cells of the pyramid's pools, as a fraction of the map's height and width.
FRACTIONS = ((5, 6), (2, 3), (1, 2), (3, 8))


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, NormAct(out_channels, "relu"))


class Residual(nn.Module):
    """Two 3×3 convolutions and the input; 18·N² + 4·N parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm, self.relu = batch_norm(channels), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        result: Tensor = self.relu(x + self.norm(self.second(self.first(x))))
        return result


def esp4(channels: int) -> ESP:
    """ESP with four branches, 3×3 reduce and ReLU; 4.5·N² + 2·N parameters."""
    return ESP(channels, channels, 4, reduce_kernel_size=3, act="relu")


class Pyramid(nn.Module):
    """Four averages of the map at fractions of its size, each projected, enlarged and joined to the map."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(AdaptiveAveragePool(fraction=fraction), conv_norm_relu(in_channels, out_channels, 1))
            for fraction in FRACTIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, in + 4·out, H, W)."""
        return torch.cat((x, *(resized(level(x), x, align_corners=True) for level in self.levels)), dim=1)


class BiopsyESPNet(SegmentationNetwork):
    """2,698,576 + 6,242·C + 109·C² parameters (2.75 M at 8 classes) with ESP blocks.

    `esp=False` is the second published encoder, of residual blocks: 7,567,696 + 6,242·C + 109·C². The class scores at
    1/8 and 1/4 end in ReLU; only the last 7×7 convolution is bare.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, esp: bool = True, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        block: Callable[[int], nn.Module] = esp4 if esp else Residual
        self.scores_first = not esp
        c = num_classes
        w1, w2, w3, w4 = (scaled(channels, width) for channels in (16, 128, 256, 64))
        self.level1 = conv_norm_relu(in_channels, w1, 7, 2)
        self.down2, self.down3 = conv_norm_relu(w1, w2, 3, 2), conv_norm_relu(2 * w2, w3, 3, 2)
        self.level2 = nn.Sequential(*(block(w2) for _ in range(2)))
        self.level3 = nn.Sequential(*(block(w3) for _ in range(5)))
        self.join2, self.join3 = NormAct(2 * w2, "relu"), NormAct(2 * w3, "relu")
        self.pyramid3, self.pyramid2 = Pyramid(2 * w3, w2), Pyramid(c + 2 * w2, w4)
        self.pyramid1 = Pyramid(w1 + c, c)
        self.scores3 = nn.Sequential(
            conv_norm_relu(2 * w3 + 4 * w2, w2, 1), conv_norm_relu(w2, c, 3), conv_norm_relu(c, c, 1)
        )
        self.scores2 = nn.Sequential(conv_norm_relu(c + 2 * w2 + 4 * w4, c, 3), conv_norm_relu(c, c, 1))
        last = nn.Conv2d(c, c, 7, padding=3, bias=False)
        self.scores1 = nn.Sequential(conv_norm_relu(w1 + 5 * c, c, 3), last)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.95

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        a = self.level1(image)  # (N, 16, H/2, W/2)
        down2 = self.down2(a)  # (N, 128, H/4, W/4)
        b = self.join2(torch.cat((down2, self.level2(down2)), dim=1))  # (N, 256, H/4, W/4)
        down3 = self.down3(b)  # (N, 256, H/8, W/8)
        c = self.join3(torch.cat((down3, self.level3(down3)), dim=1))  # (N, 512, H/8, W/8)
        x = self.scores3(self.pyramid3(c))  # (N, C, H/8, W/8)
        x = torch.cat((resized(x, b, align_corners=True), b), dim=1)  # (N, C + 256, H/4, W/4)
        x = resized(self.scores2(self.pyramid2(x)), a, align_corners=True)  # (N, C, H/2, W/2)
        # The two published encoders join the last level in opposite orders.
        x = torch.cat((x, a) if self.scores_first else (a, x), dim=1)
        x = self.scores1(self.pyramid1(x))  # (N, C, H/2, W/2)
        return resized(x, image, align_corners=True)
