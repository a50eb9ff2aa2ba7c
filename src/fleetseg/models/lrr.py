"""LRR: Laplacian pyramid reconstruction and refinement (arXiv 1605.02264), the VGG16 version LRR-4x."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.bilinear import bilinear_kernel
from fleetseg.models.vgg import VGG16, pool2

#: Basis functions a class, and the factor by which they enlarge.
FUNCTIONS, FACTOR = 10, 4
#: Frequencies (down, across) of the basis functions.
FREQUENCIES = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


def cosine_basis() -> Tensor:
    """(10, 8, 8): cosines under a bilinear window; the first is bilinear enlargement by four itself.

    The authors take the principal components of training labels instead. This one needs no data.
    """
    window = bilinear_kernel(2 * FACTOR)
    places = 2 * torch.arange(2 * FACTOR) + 1
    waves = [torch.cos(math.pi * frequency * places / (4 * FACTOR)) for frequency in range(4)]
    return torch.stack([window * waves[down][:, None] * waves[across][None, :] for down, across in FREQUENCIES])


class FixedDeconv(nn.ConvTranspose2d):
    """A transposed convolution, a group a class, whose weights are no parameters: they neither train nor count."""

    def __init__(self, num_classes: int, kernels: Tensor, stride: int, padding: int) -> None:
        """`kernels`: (maps a class, size, size); each class's maps are summed into one."""
        maps, size = kernels.shape[:2]
        super().__init__(
            maps * num_classes, num_classes, size, stride=stride, padding=padding, groups=num_classes, bias=False
        )
        del self.weight
        self.register_buffer("weight", kernels[:, None].repeat(num_classes, 1, 1, 1))


class Reconstruction(nn.Module):
    """Coefficients of the basis functions for each class (section 3.1): a 5×5 convolution, then the fixed basis.

    Coefficients start at zero, as published.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.coefficients = nn.Conv2d(in_channels, FUNCTIONS * num_classes, 5, padding=2)
        nn.init.zeros_(self.coefficients.weight)
        if self.coefficients.bias is not None:
            nn.init.zeros_(self.coefficients.bias)
        self.basis = FixedDeconv(num_classes, cosine_basis(), stride=FACTOR, padding=FACTOR // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, 4H, 4W)."""
        result: Tensor = self.basis(self.coefficients(x))
        return result


class BoundaryMask(nn.Module):
    """Near 1 where a class begins or ends, 0 inside and outside (section 3.2).

    Largest minus smallest probability of the class in a window of 9×9.
    """

    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.Softmax(dim=1)
        self.largest, self.largest_negative = (nn.MaxPool2d(9, 1, padding=4) for _ in range(2))

    def forward(self, logits: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        probabilities = self.softmax(logits)
        result: Tensor = self.largest(probabilities) + self.largest_negative(-probabilities)
        return result


class LRR(SegmentationNetwork):
    """VGG16 and four levels of reconstruction; 134,260,544 + 1,344,040·C parameters.

    ESPNet's Table 1 prints 48 M, which neither this nor a ResNet-101 version has. This is the network that the paper
    and the authors' code describe, without the two training heads for dilated and eroded regions. All four levels are
    supervised, each at its own size. With coefficients at zero the masks are zero at first: the coarsest level learns
    before the others. `width` scales the backbone.
    """

    size_multiple = 32

    def __init__(self, num_classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes, in_channels)
        self.backbone = VGG16(in_channels, width)
        initialise(self)
        own = self.backbone.out_channels
        self.pool = pool2()
        features = (self.backbone.fc_channels, own[4], own[3], own[2])
        self.levels = nn.ModuleList(Reconstruction(channels, num_classes) for channels in features)
        # Bilinear, fading to zero at the border.
        self.doubling = FixedDeconv(num_classes, bilinear_kernel(4)[None], stride=2, padding=1)
        self.mask = BoundaryMask()

    def all_logits(self, image: Tensor) -> list[Tensor]:
        """(N, in, H, W) → (N, C, ·, ·) at 1/8, 1/4, 1/2 and 1/1."""
        x, features = image, []
        for group in self.backbone.groups:
            x = group(x)
            features.append(x)
            x = self.pool(x)
        f32 = self.backbone.fully_connected(x)  # (N, 4096, H/32, W/32)
        levels = [self.levels[0](f32)]
        # 512 at 1/16, 512 at 1/8, 256 at 1/4, each before its pooling.
        for level, feature in zip(list(self.levels)[1:], features[:1:-1], strict=True):
            up = self.doubling(levels[-1])
            levels.append(up + self.mask(up) * level(feature))
        return levels

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        return self.all_logits(image)[-1]

    def training_logits(self, image: Tensor) -> Sequence[tuple[Tensor, float]]:
        """The four levels, at 1/1, 1/2, 1/4 and 1/8 of the padded image, cropped to the image."""
        height, width = image.shape[-2:]
        padded = nn.functional.pad(image, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        cropped = []
        for level, stride in zip(self.all_logits(padded), (8, 4, 2, 1), strict=True):
            cropped.append((level[..., : -(-height // stride), : -(-width // stride)], 1.0))
        return cropped[::-1]
