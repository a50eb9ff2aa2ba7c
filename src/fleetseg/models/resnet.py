"""ResNet-18, -50 and -101 (arXiv 1512.03385), the backbones of DeepLab-v2, PSPNet, RefineNet and the biopsy networks.

Layers bear torchvision's names, so its files of weights need no renaming.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from fleetseg.models.widths import scaled

#: Depth → blocks per stage.
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
#: Inner channels of the four stages.
STAGE_CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """3×3, 3×3 and the shortcut (ResNet-18)."""

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.downsample = None if in_channels == channels and stride == 1 else shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, channels, H/stride, W/stride)."""
        kept = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(x + kept)
        return result


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 to four times the channels, and the shortcut (ResNet-50 and -101)."""

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int, original: bool = False) -> None:
        """`original`: the stride is the first 1×1's, as first published, not the 3×3's."""
        super().__init__()
        wide = 4 * channels
        first, middle = (stride, 1) if original else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, middle, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.downsample = None if in_channels == wide and stride == 1 else shortcut(in_channels, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 4·channels, H/stride, W/stride)."""
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))
        result: Tensor = self.relu(x + kept)
        return result


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """1×1 with the stride, BatchNorm."""
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """Stem, max-pool and four stages; without the classifier.

    Parameters: 11,176,512 (18), 23,508,032 (50), 42,500,160 (101), 42,623,936 (101, deep stem).
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        width: float = 1.0,
        *,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        deep_stem: bool = False,
        original: bool = False,
    ) -> None:
        """`dilations` are those of all blocks of a stage.

        `deep_stem`: 3×3 64, 64, 128 for the 7×7 64. `original`: strides in the first 1×1 of a block, as first
        published; torchvision's and timm's weights have them in the 3×3.
        """
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth is {depth}; use 18, 50 or 101")
        self.depth, self.deep_stem, self.original = depth, deep_stem, original
        block: Callable[..., nn.Module] = BasicBlock if depth == 18 else partial(Bottleneck, original=original)
        expansion = 1 if depth == 18 else 4
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stem = scaled(64, width)
        if deep_stem:
            self.conv1 = nn.Conv2d(in_channels, stem, 3, 2, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(stem)
            self.conv2 = nn.Conv2d(stem, stem, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(stem)
            self.conv3 = nn.Conv2d(stem, 2 * stem, 3, 1, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(2 * stem)
        else:
            self.conv1 = nn.Conv2d(in_channels, stem, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(stem)
        channels = 2 * stem if deep_stem else stem
        outputs = []
        for index, count in enumerate(BLOCKS[depth]):
            inner = scaled(STAGE_CHANNELS[index], width)
            blocks = []
            for position in range(count):
                stride = strides[index] if position == 0 else 1
                blocks.append(block(channels, inner, stride, dilations[index]))
                channels = inner * expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            outputs.append(channels)
        #: Channels after each stage.
        self.out_channels = tuple(outputs)
        self.stem_channels = stem

    def stem(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 64 or 128, H/2, W/2)."""
        x = self.relu(self.bn1(self.conv1(image)))
        if self.deep_stem:
            x = self.relu(self.bn2(self.conv2(x)))
            x = self.relu(self.bn3(self.conv3(x)))
        result: Tensor = x
        return result

    def stages(self, x: Tensor) -> list[Tensor]:
        """(N, 64 or 128, H/4, W/4), after the max-pool → the four stages' outputs."""
        outputs = []
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
            outputs.append(x)
        return outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, in, H, W) → the four stages' outputs, by default at 1/4, 1/8, 1/16 and 1/32."""
        return self.stages(self.maxpool(self.stem(image)))
