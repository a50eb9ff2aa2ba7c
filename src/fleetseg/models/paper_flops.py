"""Floating-point operations as ENet's Table 3 counts them (spec: 286.03 for SegNet, 3.83 for ENet)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fleetseg.models.base import SegmentationNetwork

_ACTIVATIONS = {torch.ops.aten.relu, torch.ops.aten.relu_, torch.ops.aten.prelu, torch.ops.aten._prelu_kernel}
_ADDITIONS = {torch.ops.aten.add, torch.ops.aten.add_}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up while operations run, on tensors that may have no values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if operation is torch.ops.aten.convolution:
            image, weight, transposed = args[0], args[1], args[6]
            places = image if transposed else out
            self.total += 2 * weight.numel() * places.shape[-1] * places.shape[-2] + out.numel()
        elif operation in _ACTIVATIONS:
            self.total += out.numel()
        elif operation in _ADDITIONS and isinstance(args[1], Tensor):
            self.total += 2 * out.numel()
        return out


def paper_flops(network: SegmentationNetwork, width: int, height: int) -> int:
    """Operations for one image: 2 a multiply-add, 1 a convolution's output (its bias, there or not), 1 an element of
    ReLU or PReLU, 2 an element of a residual sum; BatchNorm free. The network is on the meta device and evaluates.
    """
    counter = _Counter()
    with torch.no_grad(), counter:
        network(torch.empty(1, network.in_channels, height, width, device="meta"))
    return counter.total
