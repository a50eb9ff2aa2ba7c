"""What every network shares: any image size in, logits out, padding and cropping in between."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNetwork(nn.Module):
    """A network from a normalised image batch to logits.

    Subclasses implement `forward_padded` for heights and widths that are multiples of `size_multiple`. `forward`
    accepts every size from 1×1: it pads with zeros on the right and at the bottom (after normalisation, so the
    border is the mean colour) and crops the logits back.
    """

    #: Sizes are padded to a multiple of this: 8 where the input is halved three times, 1 where any size will do.
    size_multiple: int = 8

    #: Image pixels per logit pixel and axis: 1 for full-size logits, 8 for the encoders.
    output_stride: int = 1
    #: The name of the module inside whose output is the encoder's last map, and its channels: an auxiliary head can
    #: read it while training. None: there is no such place.
    encoder_map: tuple[str, int] | None = None
    #: The registered name and options that rebuild this network; set by `build_network`.
    registered_name: str = ""
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_channels = in_channels

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) normalised image → (N, num_classes, ⌈H/s⌉, ⌈W/s⌉) logits, s = output_stride."""
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        logits = self.forward_padded(padded)
        rows = (height + self.output_stride - 1) // self.output_stride
        columns = (width + self.output_stride - 1) // self.output_stride
        return logits[..., :rows, :columns]

    @abstractmethod
    def forward_padded(self, image: Tensor) -> Tensor:
        """Like `forward`, for a height and width that are multiples of `size_multiple`."""

    def training_logits(self, image: Tensor) -> Sequence[tuple[Tensor, float]]:
        """The maps that training compares with the labels, each with its share of the loss: `forward`'s logits first.

        Alone, unless the network's paper supervises more. Those may be of other sizes; the labels are then reduced to
        them, nearest pixel to each centre.
        """
        return ((self(image), 1.0),)

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over a stage-1 network's encoder (the papers' second stage starts from it)."""
        raise TypeError(f"{type(self).__name__} has no separate encoder to load {type(encoder).__name__} into")


def initialise(network: nn.Module) -> None:
    """He-normal convolutions, zero biases; norms and PReLU keep PyTorch's own start (scale 1, slope 0.25)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def count_parameters(network: nn.Module) -> int:
    """Trainable values; BatchNorm's running statistics are not counted, as in the papers."""
    return sum(parameter.numel() for parameter in network.parameters())
