"""A transposed convolution and its form without one are the same function."""

from __future__ import annotations

import pytest
import torch

from fleetseg.exporters.sub_pixel import SubPixelConv2d, fits, without_transposed


@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "output_padding"),
    [(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (5, 2, 2, 1), (4, 4, 0, 0), (16, 8, 4, 0), (6, 3, 2, 1)],
)
@pytest.mark.parametrize("bias", [False, True])
def test_same_function(kernel_size: int, stride: int, padding: int, output_padding: int, bias: bool) -> None:
    torch.manual_seed(1)
    conv = torch.nn.ConvTranspose2d(5, 3, kernel_size, stride, padding, output_padding, bias=bias)
    assert fits(conv)
    x = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(SubPixelConv2d(conv)(x), conv(x), rtol=1e-5, atol=1e-5)


def test_others_are_left_alone() -> None:
    odd = torch.nn.ConvTranspose2d(4, 4, 3, 2)
    grouped = torch.nn.ConvTranspose2d(4, 4, 2, 2, groups=2)
    network = torch.nn.Sequential(odd, torch.nn.Sequential(grouped, torch.nn.ConvTranspose2d(4, 4, 2, 2)))
    without_transposed(network)
    assert network[0] is odd
    assert network[1][0] is grouped
    assert isinstance(network[1][1], SubPixelConv2d)
