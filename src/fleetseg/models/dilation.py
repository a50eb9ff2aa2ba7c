"""Dilation-7, -8 and -10: multi-scale context aggregation by dilated convolutions (arXiv 1511.07122)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.errors import UsageError
from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.vgg import VGG16, pool2

#: Layers of the context module (the last 1×1 counted) → dilations of its 3×3 convolutions.
CONTEXT_DILATIONS = {7: (1, 1, 2, 4, 8, 1), 8: (1, 1, 2, 4, 8, 16, 1), 10: (1, 1, 2, 4, 8, 16, 32, 64, 1)}
#: Channels of the large context module's 3×3 convolutions, in classes; it has eight layers.
LARGE_MULTIPLES = (2, 2, 4, 8, 16, 32, 32)
#: Pixels by which the authors extend the image at each side instead of padding feature maps.
BORDER = 186


class Dilation(SegmentationNetwork):
    """VGG16 at stride 8 with dilated last layers, and a context module on its class scores (Table 1 of the paper).

    Parameters: 134,260,544 + 4,194·C + 15,422·C² with the large module of eight layers (141.15 M at 21 classes; the
    141.13 M in print are the weights without biases), + 4,105·C + 64·C² with the basic one, + 4,107·C + 82·C² with the
    basic one of ten layers (Cityscapes). KITTI's has seven.

    `padded=False` is the published way: the image is extended by 186 reflected pixels and no map is padded; it needs
    sides of at least 187. The weights fit both. Scores are enlarged bilinearly. `width` scales the backbone.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        context_layers: int = 8,
        large_context: bool = True,
        padded: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if context_layers not in CONTEXT_DILATIONS:
            raise ValueError(f"context_layers is {context_layers}; use 7, 8 or 10")
        if large_context and context_layers != 8:
            raise ValueError(f"the large context module has 8 layers, not {context_layers}; set large_context=False")
        self.padded = padded
        self.backbone = VGG16(
            in_channels, width, padded=padded, first_padding=int(padded), dilations=(1, 1, 1, 1, 2),
            fc_dilation=4, fc_padded=padded,
        )  # fmt: skip
        self.pool = pool2()
        self.final = nn.Conv2d(self.backbone.fc_channels, num_classes, 1)
        self.context = context_module(num_classes, CONTEXT_DILATIONS[context_layers], large_context)
        initialise(self)
        nn.init.normal_(self.final.weight, std=0.001)
        for layer in self.context:
            if isinstance(layer, nn.Conv2d):
                set_identity(layer, num_classes)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        x = image if self.padded else extended(image)
        for index, group in enumerate(self.backbone.groups):
            x = group(x)  # 64, 1/1; 128, 1/2; 256, 1/4; 512, 1/8; 512, 1/8
            x = self.pool(x) if index < 3 else x
        scores = self.context(self.final(self.backbone.fully_connected(x)))  # (N, C, H/8, W/8)
        return F.interpolate(scores, scale_factor=8, mode="bilinear", align_corners=False)


def extended(image: Tensor) -> Tensor:
    """The image with `BORDER` reflected pixels at each side; `UsageError` if it is too small for that."""
    height, width = image.shape[-2:]
    if min(height, width) <= BORDER:
        raise UsageError(
            f"an image of {width}×{height} cannot be extended by {BORDER} reflected pixels; "
            f"give one of at least {BORDER + 1}×{BORDER + 1}, or build the network with padded=True"
        )
    return F.pad(image, (BORDER,) * 4, mode="reflect")


def context_module(classes: int, dilations: tuple[int, ...], large: bool) -> nn.Sequential:
    """3×3 convolutions with those dilations, ReLU after each, and a last 1×1 without.

    The basic module pads each layer by its dilation, the large one the scores once for all layers.
    """
    widths = [multiple * classes for multiple in LARGE_MULTIPLES] if large else [classes] * len(dilations)
    layers: list[nn.Module] = []
    channels = classes
    for index, (dilation, wide) in enumerate(zip(dilations, widths, strict=True)):
        padding = dilation
        if large:
            padding = sum(dilations) if index == 0 else 0
        layers += [nn.Conv2d(channels, wide, 3, padding=padding, dilation=dilation), nn.ReLU()]
        channels = wide
    return nn.Sequential(*layers, nn.Conv2d(channels, classes, 1))


def set_identity(conv: nn.Conv2d, classes: int) -> None:
    """The paper's start (section 3): each class is passed on, with a little noise where maps are multiplied."""
    before, after = (torch.arange(count) * classes // count for count in (conv.in_channels, conv.out_channels))
    same = after[:, None] == before[None, :]
    multiple = conv.out_channels // classes
    plain = conv.in_channels == conv.out_channels == classes
    middle = conv.kernel_size[0] // 2
    with torch.no_grad():
        nn.init.normal_(conv.weight, std=0.0 if plain else 0.01 / multiple)
        centre = conv.weight[:, :, middle, middle]
        conv.weight[:, :, middle, middle] = torch.where(same, torch.full_like(centre, 1 / multiple), centre)
