"""DeepLab-v2 with ResNet-101 and multi-scale inputs (arXiv 1606.00915), without the dense CRF."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.bilinear import resized
from fleetseg.models.blocks import Maximum
from fleetseg.models.resnet import ResNet


class DeepLabV2(SegmentationNetwork):
    """ResNet-101 at stride 8, four dilated 3×3 classifiers summed; 42,500,160 + 73,732·C parameters.

    44.05 M at 21 classes, 44.04 M in ESPNet's Table 1. `multi_scale` (section 3.1 of the paper): the same weights see
    the image at 1, 3/4 and 1/2, and the largest logit of the three counts; training supervises each scale and the
    maximum. ESPNet's comparison runs without the CRF, as this network does.

    `original` puts strides in the first 1×1 of a block and rounds the stem's pooling up, as the authors' Caffe network
    does; ImageNet weights in torchvision's or timm's layout need the default. BatchNorm trains; the authors freeze it.
    """

    size_multiple = 1

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        multi_scale: bool = True,
        original: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__(num_classes, in_channels)
        self.multi_scale = multi_scale
        self.backbone = ResNet(101, in_channels, width, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), original=original)
        self.backbone.maxpool.ceil_mode = original
        classifiers = [
            nn.Conv2d(self.backbone.out_channels[3], num_classes, 3, padding=dilation, dilation=dilation)
            for dilation in (6, 12, 18, 24)
        ]
        self.classifiers = nn.ModuleList(classifiers)
        self.maximum = Maximum()
        initialise(self)
        for classifier in classifiers:
            nn.init.normal_(classifier.weight, std=0.01)

    def scores(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, ⌈H/8⌉, ⌈W/8⌉)."""
        features = self.backbone(image)[3]  # (N, 2048, ⌈H/8⌉, ⌈W/8⌉)
        first, *others = (classifier(features) for classifier in self.classifiers)
        total: Tensor = first
        for other in others:
            total = total + other
        return total

    def _all_scores(self, image: Tensor) -> list[Tensor]:
        """At 1, 3/4 and 1/2, and the maximum of all at the first's size."""
        height, width = image.shape[-2:]
        # Rounded up, so that an image of one pixel keeps it.
        smaller = [((height * n + 3) // 4, (width * n + 3) // 4) for n in (3, 2)]
        images = [F.interpolate(image, size=size, mode="bilinear", align_corners=False) for size in smaller]
        maps = [self.scores(one) for one in (image, *images)]
        largest = maps[0]
        for other in maps[1:]:
            largest = self.maximum(largest, resized(other, maps[0]))
        return [*maps, largest]

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        scores = self._all_scores(image)[-1] if self.multi_scale else self.scores(image)
        return resized(scores, image)

    def training_logits(self, image: Tensor) -> Sequence[tuple[Tensor, float]]:
        """Full-size logits; with `multi_scale` the three scales' own maps too, at 1/8 of each."""
        if not self.multi_scale:
            return ((self(image), 1.0),)
        *maps, largest = self._all_scores(image)
        return ((resized(largest, image), 1.0), *((one, 1.0) for one in maps))
