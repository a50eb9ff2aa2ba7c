"""RefineNet: multi-path refinement networks (arXiv 1611.06612), four cascaded blocks on ResNet-101 or -50."""

from __future__ import annotations

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.bilinear import resized
from fleetseg.models.resnet import ResNet
from fleetseg.models.widths import scaled


def conv3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """3×3 that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


class ResidualConvUnit(nn.Module):
    """Fig. 3(b): two 3×3 convolutions, each behind a ReLU, added to the input; 18·c² + c parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = conv3(channels, channels, bias=True)
        self.conv2 = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        result: Tensor = x + self.conv2(self.relu(self.conv1(self.relu(x))))
        return result


class ChainedResidualPooling(nn.Module):
    """Fig. 3(d) with four stages: each pools 5×5 and convolves what the one before gave; all are summed.

    `improved`: convolution before pooling, the authors' later default. 36·c² parameters.
    """

    def __init__(self, channels: int, improved: bool) -> None:
        super().__init__()
        self.improved = improved
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(5, 1, padding=2)
        self.convs = nn.ModuleList(conv3(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        x = self.relu(x)
        total: Tensor = x
        for conv in self.convs:
            x = self.pool(conv(x)) if self.improved else conv(self.pool(x))
            total = total + x
        return total


class RefineBlock(nn.Module):
    """One cascade (Fig. 3(a)): adapt the backbone's map, add the coarser result, pool in a chain, refine.

    The coarsest block has no coarser result. The paper's one output unit and the two that adapt it for the next block
    stand together at the end.
    """

    def __init__(self, in_channels: int, channels: int, coarse_channels: int | None, improved: bool) -> None:
        super().__init__()
        self.reduce = conv3(in_channels, channels)
        self.adapt = nn.Sequential(*(ResidualConvUnit(channels) for _ in range(2)))
        if coarse_channels is not None:
            self.own = conv3(channels, channels)
            self.coarse = conv3(coarse_channels, channels)
        self.pooling = ChainedResidualPooling(channels, improved)
        self.output = nn.Sequential(*(ResidualConvUnit(channels) for _ in range(3)))

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        """(N, in, H, W) and the coarser block's (N, coarse, h, w) → (N, channels, H, W)."""
        x = self.adapt(self.reduce(x))
        if coarser is not None:
            x = self.own(x) + resized(self.coarse(coarser), x)
        result: Tensor = self.output(self.pooling(x))
        return result


class RefineNet(SegmentationNetwork):
    """118,004,032 + 2,305·C parameters on ResNet-101 (`depth`), 99,011,904 + 2,305·C on ResNet-50.

    ESPNet's Table 1 prints 42.6 M, which is a ResNet-101 with a deep stem alone; no version of the whole network has
    so few. This is the network that the paper and the authors' code describe. `improved_pooling`: their later default.
    `original` puts strides in the first 1×1 of a block, as the authors' backbone does; ImageNet weights in
    torchvision's or timm's layout need the default. Enlargements are bilinear (the authors': bicubic).
    """

    size_multiple = 1

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        depth: int = 101,
        improved_pooling: bool = False,
        original: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if depth not in (50, 101):
            raise ValueError(f"depth is {depth}; use 50 or 101")
        self.backbone = ResNet(depth, in_channels, width, original=original)
        deepest, other = scaled(512, width), scaled(256, width)
        plan = [(deepest, None), (other, deepest), (other, other), (other, other)]
        self.blocks = nn.ModuleList(
            RefineBlock(features, channels, coarse, improved_pooling)
            for features, (channels, coarse) in zip(reversed(self.backbone.out_channels), plan, strict=True)
        )
        self.dropout = nn.Dropout(0.5)
        self.head = conv3(other, num_classes, bias=True)
        initialise(self)
        for added in (self.blocks, self.head):
            for layer in added.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, std=0.01)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        f1, f2, f3, f4 = self.backbone(image)  # 256, 1/4; 512, 1/8; 1024, 1/16; 2048, 1/32
        x: Tensor | None = None
        # Only the two deepest maps are dropped out of.
        for block, features in zip(self.blocks, (self.dropout(f4), self.dropout(f3), f2, f1), strict=True):
            x = block(features, x)  # 512, 1/32; 256, 1/16; 256, 1/8; 256, 1/4
        return resized(self.head(self.dropout(x)), image)
