"""A head at the encoder's end, trained beside the decoder and left out of the saved network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise

#: Image pixels per pixel of the encoder's last map, and axis.
ENCODER_STRIDE = 8


class AuxiliaryHead(nn.Module):
    """A 1×1 convolution on the encoder's last map, as the head of ENet's stage 1.

    It listens to the network: after each forward pass `logits` belong to that pass.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        assert network.encoder_map is not None  # the recipe's check
        name, channels = network.encoder_map
        self.head = nn.Conv2d(channels, network.num_classes, 1)
        initialise(self)
        self._heard: list[Tensor] = []
        network.get_submodule(name).register_forward_hook(self._listen)

    def _listen(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if self.training:
            self._heard[:] = [output]

    def logits(self) -> Tensor:
        """(N, C, H/8, W/8) of the forward pass just made."""
        result: Tensor = self.head(self._heard.pop())
        return result
