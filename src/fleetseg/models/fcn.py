"""FCN-8s: fully convolutional networks for semantic segmentation (arXiv 1411.4038)."""

from __future__ import annotations

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.bilinear import bilinear_deconv
from fleetseg.models.vgg import VGG16, pool2


class FCN8s(SegmentationNetwork):
    """VGG16 with class scores after fc7, pool4 and pool3, each enlarged onto the next.

    134,260,544 + 4,867·C + 288·C² parameters (134.5 M at 21 classes); the 288·C² of the enlargements are bilinear and
    do not train, as published. The score layers start at zero, as published.

    `published` pads the image by 100 pixels and crops each map, as the authors do, which costs 71% more multiply-adds
    at 512×512; by default each convolution keeps its size. The weights fit both. `width` scales the backbone.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, published: bool = False, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        self.published = published
        self.size_multiple = 1 if published else 32
        self.backbone = VGG16(in_channels, width, first_padding=100 if published else 1, fc_padded=not published)
        self.pool = pool2()
        own, c = self.backbone.out_channels, num_classes
        self.score3 = nn.Conv2d(own[2], c, 1)
        self.score4 = nn.Conv2d(own[3], c, 1)
        self.score7 = nn.Conv2d(self.backbone.fc_channels, c, 1)
        initialise(self)
        for score in (self.score3, self.score4, self.score7):
            nn.init.zeros_(score.weight)
        paddings = (0, 0, 0) if published else (1, 1, 4)
        self.up7 = bilinear_deconv(c, 2, paddings[0])
        self.up4 = bilinear_deconv(c, 2, paddings[1])
        self.up3 = bilinear_deconv(c, 8, paddings[2])

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x, pooled = image, []
        for group in self.backbone.groups:
            x = self.pool(group(x))  # 64, 1/2 … 512, 1/32
            pooled.append(x)
        x = self.up7(self.score7(self.backbone.fully_connected(x)))  # (N, C, H/16, W/16)
        x = self.up4(x + self._cut(self.score4(pooled[3]), x, 5))  # (N, C, H/8, W/8)
        x = self.up3(x + self._cut(self.score3(pooled[2]), x, 9))  # (N, C, H, W)
        return self._cut(x, image, 31)

    def _cut(self, x: Tensor, like: Tensor, first: int) -> Tensor:
        """`x` at the size of `like`, from the published row and column on; as it is where nothing was padded."""
        if not self.published:
            return x
        height, width = like.shape[-2:]
        return x[..., first : first + height, first : first + width]
