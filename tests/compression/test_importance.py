"""Which channels go first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fleetseg.compiler.capture import capture
from fleetseg.compiler.channels.wiring import Wiring
from fleetseg.compression.importance import unimportant


class Plain(nn.Module):
    """Twelve channels with BatchNorm scales 1 to 12, read by one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.Conv2d(12, 2, 1)
        nn.init.ones_(self.first.weight)
        nn.init.ones_(self.last.weight)
        with torch.no_grad():
            self.norm.weight.copy_(torch.arange(1.0, 13.0))
            self.norm.bias.copy_(torch.arange(12.0, 0.0, -1.0))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.norm(self.first(x)))
        return result


def removed(module: nn.Module, share: float) -> list[int]:
    """Numbers of the channels of ``first`` that go."""
    wiring = Wiring(capture(module.eval(), (8, 8), 3))
    groups = next(wiring.groups(use.ids) for use in wiring.uses if (use.constant, use.axis) == ("p_first_weight", 0))
    everything = {int(group) for use in wiring.uses for group in wiring.groups(use.ids)}
    gone = unimportant(wiring, everything, share)
    assert not gone & wiring.fixed()
    return np.flatnonzero(np.isin(groups, sorted(gone))).tolist()


def test_small_scales_go_first_and_a_multiple_of_four_stays() -> None:
    assert removed(Plain(), 0.3) == [0, 1, 2, 3]
    assert removed(Plain(), 0.1) == []
    assert removed(Plain(), 0.9) == list(range(8))


def test_what_reads_a_channel_counts_too() -> None:
    module = Plain()
    with torch.no_grad():
        module.norm.weight.fill_(1)
        module.last.weight[:, 5:9] = 0.01
    assert removed(module, 0.3) == [5, 6, 7, 8]
