"""The plain decoder on ResNet-18 that ESPNet's Table 1(d) calls SegNet on breast biopsies, by its count."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.biopsy_mehta import conv_norm_relu, doubling
from fleetseg.models.resnet import ResNet
from fleetseg.models.widths import scaled


class BiopsyResNet18(SegmentationNetwork):
    """ResNet-18 and five transposed convolutions, nothing joined; 12,800,256 + 67·C parameters.

    12.80 M at 8 classes, as in print. The wiring is the dense decoder of `biopsy_mehta` without its skips, which print
    does not settle.
    """

    size_multiple = 32

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = ResNet(18, in_channels, width)
        narrow = scaled(64, width)
        channels = [*reversed(self.backbone.out_channels), narrow, narrow]
        ups = [doubling(before, after) for before, after in pairwise(channels)]
        self.decoder = nn.Sequential(*ups)
        self.out = conv_norm_relu(narrow, num_classes, 1)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        features = self.backbone(image)[3]  # (N, 512, H/32, W/32)
        logits: Tensor = self.out(self.decoder(features))
        return logits
