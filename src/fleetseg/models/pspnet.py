"""PSPNet: pyramid scene parsing network (arXiv 1612.01105), ResNet-101 with a deep stem."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fleetseg.models.adaptive_pooling import AdaptiveAveragePool
from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.bilinear import resized
from fleetseg.models.resnet import ResNet
from fleetseg.models.widths import scaled


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """Convolution without bias that keeps the size, BatchNorm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


class PSPNet(SegmentationNetwork):
    """ResNet-101 at stride 8 and averages over 1, 4, 9 and 36 cells of the image; 65,697,728 + 513·C parameters.

    65.7 M in ESPNet's Table 1. `auxiliary` adds the training head on stage 3 (2,359,808 + 257·C more), whose loss
    counts 0.4. `deep_stem=False` takes the plain 7×7 stem of torchvision's ResNet-101 (65,573,952 + 513·C).
    Enlargements align corners, as published.
    """

    size_multiple = 1

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        auxiliary: bool = False,
        deep_stem: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = ResNet(
            101, in_channels, width, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), deep_stem=deep_stem
        )
        features, inner, c = self.backbone.out_channels[3], scaled(512, width), num_classes
        self.pyramid = nn.ModuleList(
            nn.Sequential(AdaptiveAveragePool(bins), *conv_norm_relu(features, inner, 1)) for bins in (1, 2, 3, 6)
        )
        self.head = nn.Sequential(
            *conv_norm_relu(features + 4 * inner, inner, 3), nn.Dropout2d(0.1), nn.Conv2d(inner, c, 1)
        )
        self.auxiliary: nn.Sequential | None = None
        if auxiliary:
            narrow = scaled(256, width)
            stage3 = conv_norm_relu(self.backbone.out_channels[2], narrow, 3)
            self.auxiliary = nn.Sequential(*stage3, nn.Dropout2d(0.1), nn.Conv2d(narrow, c, 1))
        initialise(self)

    def _scores(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, C, ⌈H/8⌉, ⌈W/8⌉) and stage 3's maps (N, 1024, ⌈H/8⌉, ⌈W/8⌉)."""
        *_, stage3, stage4 = self.backbone(image)
        pooled = [resized(level(stage4), stage4, align_corners=True) for level in self.pyramid]
        return self.head(torch.cat((stage4, *pooled), dim=1)), stage3

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        return resized(self._scores(image)[0], image, align_corners=True)

    def training_logits(self, image: Tensor) -> Sequence[tuple[Tensor, float]]:
        """Full-size logits, and with `auxiliary` those of stage 3, which count 0.4."""
        scores, stage3 = self._scores(image)
        main = (resized(scores, image, align_corners=True), 1.0)
        if self.auxiliary is None:
            return (main,)
        return main, (resized(self.auxiliary(stage3), image, align_corners=True), 0.4)
