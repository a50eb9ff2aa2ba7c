"""Bilinear enlargement, by interpolation and as the weights of a transposed convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resized(x: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """(N, C, h, w) → (N, C, H, W), the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=align_corners)


def bilinear_kernel(size: int) -> Tensor:
    """(size, size): what a transposed convolution of stride size / 2 needs to enlarge bilinearly."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line[None, :]


def bilinear_deconv(channels: int, factor: int, padding: int) -> nn.ConvTranspose2d:
    """Enlarges each channel by `factor`, without a bias; the weights between different channels are zeros.

    A dense convolution, as FCN has it: C²·(2·factor)² weights that do not train, of which C·(2·factor)² are not zero.
    """
    size = 2 * factor
    deconv = nn.ConvTranspose2d(channels, channels, size, stride=factor, padding=padding, bias=False)
    set_bilinear(deconv)
    return deconv.requires_grad_(False)


def set_bilinear(deconv: nn.ConvTranspose2d) -> None:
    """Set the weights that enlarge each channel bilinearly."""
    channels, size = deconv.in_channels, deconv.kernel_size[0]
    with torch.no_grad():
        deconv.weight.zero_()
        every = torch.arange(channels)
        deconv.weight[every, every] = bilinear_kernel(size)
