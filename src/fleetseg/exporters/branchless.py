"""Operations that a trace would write as a branch, written without one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Branchless(TorchFunctionMode):
    """While it is entered, what PyTorch squeezes is taken by index, and local response norms squeeze nothing.

    ONNX's exporter has lost the length of a dimension that comes from sizes which are free, and asks for it with an
    ``If``, which OpenCV and others do not run. The example tells whether the length is 1.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or what stands for it."""
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def squeezed(input: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """`torch.squeeze`."""
    chosen = range(input.dim()) if dim is None else (dim,) if isinstance(dim, int) else dim
    # From the last on: taking one away moves those behind it.
    for place in sorted((place % input.dim() for place in chosen), reverse=True):
        if int(input.shape[place]) == 1:
            input = input.select(place, 0)
    return input


def response_normalised(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`F.local_response_norm` of (N, C, H, W): each value over (k + α · mean of the squares of `size` channels)^β."""
    if input.dim() != 4:
        return F.local_response_norm(input, size, alpha, beta, k)
    squares = F.pad((input * input).unsqueeze(1), (0, 0, 0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool3d(squares, (size, 1, 1), stride=1).flatten(1, 2)
    return input / (mean * alpha + k) ** beta


_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.squeeze: squeezed,
    Tensor.squeeze: squeezed,
    F.local_response_norm: response_normalised,
}
