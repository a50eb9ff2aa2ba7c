"""The breast-biopsy network that ESPNet is compared with: Mehta et al., "Learning to segment breast biopsy whole slide
images" (arXiv 1709.02554), two encoder-decoders on ResNet-18.

Convolutions and transposed convolutions have biases except inside the ResNet-18.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.resnet import ResNet

#: Pixels of the surroundings that the first encoder-decoder sees above and left of the image, and below and right of
#: it: the authors cut 256 pixels out of 384 one pixel off the centre.
BEFORE, AFTER = 63, 65


def norm_relu(channels: int) -> list[nn.Module]:
    """BatchNorm and ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU()]


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution with bias, BatchNorm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
    return nn.Sequential(conv, *norm_relu(out_channels))


def doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """3×3 transposed convolution with stride 2, BatchNorm, ReLU."""
    deconv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(deconv, *norm_relu(out_channels))


def sparse_doubling(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """1×1 with stride 2: of four pixels three are the bias alone."""
    return nn.ConvTranspose2d(in_channels, out_channels, 1, stride=2, output_padding=1)


class InputAwareUnit(nn.Module):
    """The image, averaged down, as 64 maps that are added to the encoder's."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, channels, 1), conv_norm_relu(channels, channels))

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 64, H, W)."""
        result: Tensor = self.layers(image)
        return result


class DenseDecoder(nn.Module):
    """Five doublings; each adds the encoder's map of its size and projections of all larger ones."""

    def __init__(self, widths: tuple[int, int, int, int, int], num_classes: int) -> None:
        """`widths`: of L1, L2 (and L3), L4, L5 and L6."""
        super().__init__()
        w1, w2, w4, w5, w6 = widths
        self.up1, self.up2 = doubling(w6, w5), doubling(w5, w4)
        self.up3, self.up4, self.up5 = doubling(w4, w2), doubling(w2, w2), doubling(w2, w2)
        # To the sizes of D1, D2 and D3; the stride is the number of halvings between.
        self.to5 = nn.ModuleList(conv_norm_relu(w, w5, 1, stride) for w, stride in ((w4, 2), (w2, 4), (w2, 4), (w1, 8)))
        self.to4 = nn.ModuleList(conv_norm_relu(w, w4, 1, stride) for w, stride in ((w2, 2), (w2, 2), (w1, 4)))
        self.to3 = nn.ModuleList([conv_norm_relu(w1, w2, 1, 2)])
        self.out = conv_norm_relu(w2, num_classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """L1 to L6 at 1/2, 1/4, 1/4, 1/8, 1/16 and 1/32 → (N, C, H, W)."""
        l1, l2, l3, l4, l5, l6 = maps
        x = self.up1(l6) + l5  # (N, 256, H/16, W/16)
        x = x + added(self.to5, (l4, l3, l2, l1))
        x = self.up2(x) + l4  # (N, 128, H/8, W/8)
        x = x + added(self.to4, (l3, l2, l1))
        x = self.up3(x) + l3 + l2  # (N, 64, H/4, W/4)
        x = x + added(self.to3, (l1,))
        x = self.up4(x) + l1  # (N, 64, H/2, W/2)
        result: Tensor = self.out(self.up5(x))
        return result


def added(layers: nn.ModuleList, inputs: tuple[Tensor, ...]) -> Tensor:
    """The sum of each layer's output for its input."""
    first, *others = (layer(x) for layer, x in zip(layers, inputs, strict=True))
    for other in others:
        first = first + other
    result: Tensor = first
    return result


class SparseDecoder(nn.Module):
    """Class maps from every level of the encoder, summed and doubled by 1×1 transposed convolutions."""

    def __init__(self, widths: tuple[int, int, int, int, int], num_classes: int) -> None:
        super().__init__()
        w1, w2, w4, w5, w6 = widths
        c = num_classes
        self.deepest = sparse_doubling(w6, c)
        self.project5, self.project4 = nn.Conv2d(w5, c, 1), nn.Conv2d(w4, c, 1)
        self.project3, self.project2, self.project1 = (nn.Conv2d(w, c, 1) for w in (w2, w2, w1))
        self.ups = nn.ModuleList(nn.Sequential(sparse_doubling(c, c), *norm_relu(c)) for _ in range(4))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """L1 to L6 → (N, C, H, W)."""
        l1, l2, l3, l4, l5, l6 = maps
        x = self.ups[0](self.deepest(l6) + self.project5(l5))  # (N, C, H/8, W/8)
        x = self.ups[1](x + self.project4(l4))
        x = self.ups[2](x + self.project3(l3) + self.project2(l2))
        result: Tensor = self.ups[3](x + self.project1(l1))
        return result


class EncoderDecoder(nn.Module):
    """ResNet-18 with input-aware units, a dense and a sparse decoder; 12,989,888 + 1,206·C + 13·C² parameters."""

    def __init__(self, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        self.backbone = ResNet(18, in_channels, width)
        w1 = self.backbone.stem_channels
        w2, w4, w5, w6 = self.backbone.out_channels
        widths = (w1, w2, w4, w5, w6)
        self.halve = nn.AvgPool2d(3, 2, padding=1)
        self.aware2, self.aware4 = InputAwareUnit(in_channels, w1), InputAwareUnit(in_channels, w1)
        self.image = conv_norm_relu(in_channels, num_classes)
        self.dense, self.sparse = DenseDecoder(widths, num_classes), SparseDecoder(widths, num_classes)
        self.out = conv_norm_relu(num_classes, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        half = self.halve(image)
        l1 = self.backbone.stem(image) + self.aware2(half)  # (N, 64, H/2, W/2)
        l2 = self.backbone.maxpool(l1) + self.aware4(self.halve(half))  # (N, 64, H/4, W/4)
        maps = [l1, l2, *self.backbone.stages(l2)]  # … 64, 1/4; 128, 1/8; 256, 1/16; 512, 1/32
        result: Tensor = self.out(self.dense(maps) + self.image(image) + self.sparse(maps))
        return result


class Context(nn.Module):
    """Five 3×3 convolutions of rising dilation on the class maps, each added to the first; 54·C² + 18·C parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=d, dilation=d), *norm_relu(channels))
            for d in (1, 2, 4, 8, 16)
        )
        self.relu = nn.ReLU()
        self.out = conv_norm_relu(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        first, *others = self.layers
        base = first(x)
        total, current = base, base
        for layer in others:
            current = layer(current) + base + x
            total = total + current
        result: Tensor = self.out(self.relu(total + x))
        return result


class BiopsyMehta(SegmentationNetwork):
    """One encoder-decoder sees the image with its surroundings, one the image alone; their sum is refined.

    25,979,782 + 2,434·C + 90·C² parameters (26.0 M at 8 classes). The authors feed 384×384 and label its inner
    256×256; here the image is that inner part, and its border pixels are repeated for surroundings that are not known
    (`forward`). Who has them calls `inside`.
    """

    size_multiple = 32

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        self.norm = nn.BatchNorm2d(in_channels)
        self.outer = EncoderDecoder(num_classes, in_channels, width)
        self.inner = EncoderDecoder(num_classes, in_channels, width)
        self.context = Context(num_classes)
        self.classifier = nn.Sequential(
            conv_norm_relu(num_classes, num_classes), nn.Conv2d(num_classes, num_classes, 1)
        )

    def inside(self, surrounded: Tensor) -> Tensor:
        """(N, in, H + 128, W + 128) → (N, C, H, W): logits of the pixels from row and column 63 on."""
        x = self.norm(surrounded)
        fused = cut(self.outer(x)) + self.inner(cut(x))
        logits: Tensor = self.classifier(self.context(fused))
        return logits

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        return self.inside(F.pad(image, (BEFORE, AFTER, BEFORE, AFTER), mode="replicate"))


def cut(x: Tensor) -> Tensor:
    """(N, C, H + 128, W + 128) → (N, C, H, W)."""
    return x[..., BEFORE:-AFTER, BEFORE:-AFTER]
