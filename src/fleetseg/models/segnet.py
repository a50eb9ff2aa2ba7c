"""SegNet (arXiv 1511.00561).

It up-samples with the places of the encoder's maxima. Pooling rounds odd sizes up and un-pooling restores them, so
any image size passes without padding: at 480×360 the heights are 360, 180, 90, 45 and 23.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2
from fleetseg.models.vgg import VGG16


class PoolRoundingUp(nn.Module):
    """`MaxPool2x2` for what a ReLU made, of any size.

    An odd side gets a line of zeros at its end. No zero there is ever the maximum's place: without a positive value
    the first of the window counts, and that is a pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = MaxPool2x2()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → (N, C, ⌈H/2⌉, ⌈W/2⌉) and the places."""
        height, width = x.shape[-2:]
        pooled, place = self.pool(F.pad(x, (0, width % 2, 0, height % 2)))
        return pooled, place


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 3, relu: bool = True) -> nn.Sequential:
    """Convolution with bias that keeps the size, BatchNorm, and ReLU if wanted."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    layers = [conv, nn.BatchNorm2d(out_channels), *([nn.ReLU()] if relu else [])]
    return nn.Sequential(*layers)


class SegNet(SegmentationNetwork):
    """VGG16's thirteen convolutions with BatchNorm, five poolings, and their mirror image.

    29,443,008 + 577·C parameters; 29.5 M in ESPNet's Table 1(c), and 29.46 M in ENet's Table 3 is the bias-free network
    with its running statistics. `width` scales all channels.
    """

    size_multiple = 1

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        self.encoder = VGG16(in_channels, width, norm=True, fc_dilation=None)
        self.pool, self.unpool = PoolRoundingUp(), MaxUnpool2x2()
        # Each level ends with the channels of the level above, whose places un-pool it.
        counts, own = (2, 2, 3, 3, 3), self.encoder.out_channels
        self.decoder = nn.ModuleList()
        for level in range(4, 0, -1):
            last = conv_norm(own[level], own[level - 1])
            self.decoder.append(nn.Sequential(*same_width(own[level], counts[level] - 1), last))
        self.decoder.append(conv_norm(own[0], own[0]))
        self.classifier = nn.Conv2d(own[0], num_classes, 3, padding=1)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x, kept = image, []
        for group in self.encoder.groups:  # 64, 1/1 … 512, 1/16
            x = group(x)
            size = x.shape[-2:]
            x, place = self.pool(x)
            kept.append((place, size))
        for level in self.decoder:  # 512, 1/16 … 64, 1/1
            place, size = kept.pop()
            x = level(self.unpool(x, place)[..., : size[0], : size[1]])
        logits: Tensor = self.classifier(x)
        return logits


def same_width(channels: int, count: int) -> list[nn.Sequential]:
    """That many convolutions with BatchNorm and ReLU."""
    return [conv_norm(channels, channels) for _ in range(count)]
