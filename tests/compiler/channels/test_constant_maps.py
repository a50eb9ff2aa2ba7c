"""Channels with one value everywhere: what is found is what the network gives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fleetseg.compiler.capture import capture
from fleetseg.compiler.channels.constant_maps import constant_channels


class Known(nn.Module):
    """Three channels of which a BatchNorm leaves one, then everything that a constant may run through."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(3), nn.PReLU(3)
        self.plain, self.padded = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)
        with torch.no_grad():
            self.norm.weight[:2] = 0
            self.norm.bias.copy_(torch.tensor([-2.0, 0.0, 1.0]))
            self.plain.weight[0, 2] = 0  # reads constants alone
            self.padded.weight[0, [0, 2]] = 0  # reads the zero alone
            self.padded.weight[1, 2] = 0  # reads a constant that is not zero, at the border less of it

    def forward(self, x: Tensor) -> Tensor:
        known = self.act(self.norm(x))  # -0.5, 0, varies
        pooled = nn.functional.max_pool2d(known, 3, 1, 1)
        averaged = nn.functional.avg_pool2d(known, 3, 1, 1)
        return torch.cat((known, self.plain(known), self.padded(known), pooled, averaged, known + pooled), dim=1)


def test_constants_are_those_of_the_network() -> None:
    torch.manual_seed(0)
    module = Known().eval()
    graph = capture(module, (8, 6), 3)
    found = constant_channels(graph)[graph.outputs[0]]
    with torch.no_grad():
        given = module(torch.randn(1, 3, 6, 8))[0].flatten(1).numpy()
    is_constant = np.ptp(given, axis=1) == 0
    assert np.array_equal(np.isfinite(found), is_constant)
    # As they come, by the plain convolution, by the padded one, by maximum, by mean (the border's zeros), and summed.
    expected = ("110", "100", "100", "110", "010", "110")
    assert "".join(str(int(one)) for one in is_constant) == "".join(expected)
    np.testing.assert_allclose(found[is_constant], given[is_constant, 0], rtol=1e-6)
