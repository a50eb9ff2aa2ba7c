"""What a built module costs, counted as ESPNet's Fig. 3(g) does: its convolutions alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """All convolutions inside."""
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def convolution_weights(module: nn.Module) -> int:
    """Weights of the convolutions, without BatchNorm and activations."""
    return sum(convolution.weight.numel() for convolution in convolutions(module))


def convolution_memory(module: nn.Module, in_channels: int, width: int, height: int) -> int:
    """Bytes of the float32 maps that the convolutions put out for one input of that size."""
    total = 0

    def count(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += 4 * output.numel()

    bare = copy.deepcopy(module).to("meta").eval()
    for convolution in convolutions(bare):
        convolution.register_forward_hook(count)
    with torch.no_grad():
        bare(torch.empty(1, in_channels, height, width, device="meta"))
    return total


def gradient_field(module: nn.Module, in_channels: int, at_most: int) -> int:
    """Side of the square of input pixels in which the gradient of one output pixel is not zero.

    In a copy with positive weights and a positive input, where nothing cancels and no activation is off. `at_most` is a
    size that surely suffices; `ValueError` if it does not.
    """
    # To the CPU, for the module may have no values yet; norms and activations as they start.
    positive = copy.deepcopy(module).to_empty(device="cpu").double().eval()
    for part in positive.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.ones_(part.weight)
        elif isinstance(part, nn.BatchNorm2d | nn.PReLU):
            part.reset_parameters()
    side = at_most + 2
    image = torch.ones(1, in_channels, side, side, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        positive(image)[0, :, side // 2, side // 2].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad.sum(dim=(0, 1)).nonzero().unbind(1)
    field = int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
    if field > at_most:
        raise ValueError(f"the field reaches beyond {at_most} pixels")
    return field
