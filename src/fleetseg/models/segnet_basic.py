"""SegNet-Basic, SegNet's small forerunner (arXiv 1505.07293)."""

from __future__ import annotations

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import MaxUnpool2x2
from fleetseg.models.segnet import PoolRoundingUp, conv_norm
from fleetseg.models.widths import scaled


class SegNetBasic(SegmentationNetwork):
    """Four 7×7 convolutions of 64 channels down, four up without ReLU; 1,415,872 + 65·C parameters.

    Local response normalisation of the image (size 5, α 10⁻⁴, β 0.75) comes first, as in the authors' definition.
    """

    size_multiple = 1

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        channels = scaled(64, width)
        inputs = (in_channels, channels, channels, channels)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool, self.unpool = PoolRoundingUp(), MaxUnpool2x2()
        self.encoder = nn.ModuleList(conv_norm(before, channels, 7) for before in inputs)
        self.decoder = nn.ModuleList(conv_norm(channels, channels, 7, relu=False) for _ in range(4))
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x, kept = self.norm(image), []
        for level in self.encoder:  # 64, 1/1 … 64, 1/8
            x = level(x)
            size = x.shape[-2:]
            x, place = self.pool(x)
            kept.append((place, size))
        for level in self.decoder:  # 64, 1/8 … 64, 1/1
            place, size = kept.pop()
            x = level(self.unpool(x, place)[..., : size[0], : size[1]])
        logits: Tensor = self.classifier(x)
        return logits
