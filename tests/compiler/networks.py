"""Networks for the compiler's tests: their weights are random in every place where training would change them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def randomised(network: Network, seed: int) -> Network:
    """Random statistics, scales, shifts and slopes, so that a dropped or swapped one shows in the numbers."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        with torch.no_grad():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.5, 2.0)
            uniform(module.weight, 0.5, 1.5)
            # Some scales are negative: rewrites that assume the sign would show.
            with torch.no_grad():
                module.weight[::5] *= -1
            uniform(module.bias, -0.3, 0.3)
        elif isinstance(module, nn.PReLU):
            uniform(module.weight, -0.2, 0.6)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            uniform(module.bias, -0.3, 0.3)
    return network.eval()
