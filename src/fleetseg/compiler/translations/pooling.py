"""Pooling, its reversal, and bilinear resizing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError, pair
from fleetseg.compiler.translations.arithmetic import affine
from fleetseg.compiler.translations.layers import symmetric
from fleetseg.compiler.types import window_size


def _max_pool(state: Capture, node: Any) -> str:
    return state.add(node, "max_pool", [state.operand(node, 0)], **_max_window(state, node))


def _max_window(state: Capture, node: Any) -> dict[str, Any]:
    dilation = pair(state.argument(node, 4, "dilation", 1))
    window = _pool_window(state, node, 5, dilation)
    return window if dilation == (1, 1) else {**window, "dilation": dilation}


def _max_pool_with_indices(state: Capture, node: Any) -> list[str]:
    value, window = state.operand(node, 0), _max_window(state, node)
    return [
        state.add(f"{node.name}_values", "max_pool", [value], **window),
        state.add(f"{node.name}_indices", "max_pool_index", [value], **window),
    ]


def _max_unpool(state: Capture, node: Any) -> str:
    size = tuple(int(number) for number in node.args[2][-2:])
    return state.add(node, "max_unpool", [state.operand(node, 0), state.operand(node, 1)], size=size)


def _avg_pool(state: Capture, node: Any) -> str:
    window, value = _pool_window(state, node, 4), state.operand(node, 0)
    own = symmetric(pair(state.argument(node, 3, "padding", 0)))
    divisor = state.argument(node, 6, "divisor_override", None)
    if divisor is not None:
        kernel = window["kernel_size"]
        mean = state.add(f"{node.name}_mean", "avg_pool", [value], count_padding=True, **window)
        return affine(state, node, mean, kernel[0] * kernel[1] / int(divisor), 0)
    counted = own if state.argument(node, 5, "count_include_pad", True) else (0, 0, 0, 0)
    if counted == window["padding"]:
        return state.add(node, "avg_pool", [value], count_padding=True, **window)
    extra = {"counted": counted} if any(counted) else {}
    return state.add(node, "avg_pool", [value], count_padding=False, **window, **extra)


def _avg_pool3d(state: Capture, node: Any) -> str:
    """Only as local response normalisation uses it: over channels, without padding and strides."""
    value = state.operand(node, 0)
    kernel = tuple(int(size) for size in node.args[1])
    if any(int(step) != 1 for step in node.args[2]) or len(node.args) > 3 or len(kernel) != 3:
        raise UnsupportedOperationError("three-dimensional pooling")
    return state.add(node, "avg_pool3d", [value], kernel_size=kernel)


def _adaptive(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        value, result = state.operand(node, 0), node.meta["val"]
        size = tuple(int(number) for number in (result[0] if isinstance(result, tuple) else result).shape[2:])
        if state.shape(value)[2:] == size:
            return value
        return state.add(node, op, [value], size=size)

    return translate


def _adaptive_max(state: Capture, node: Any) -> list[Any]:
    if any(user.args[1] == 1 for user in node.users):
        raise UnsupportedOperationError("indices of adaptive max-pooling")
    return [_adaptive("adaptive_max_pool")(state, node), None]


def _bilinear(state: Capture, node: Any) -> str:
    factors = state.argument(node, 3, "scale_factors", None)
    corners = bool(node.args[2])
    size = tuple(int(number) for number in node.meta["val"].shape[2:])
    scales = None if corners or not factors else tuple(float(factor) for factor in factors)
    value = state.operand(node, 0)
    if state.shape(value)[2:] == size and (scales is None or scales == (1.0, 1.0)):
        return value
    return state.add(node, "resize", [value], size=size, corners=corners, scales=scales)


def _pool_window(state: Capture, node: Any, ceil_position: int, dilation: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    kernel = pair(state.argument(node, 1, "kernel_size", 1))
    stride = pair(state.argument(node, 2, "stride", ()) or kernel)
    padding = symmetric(pair(state.argument(node, 3, "padding", 0)))
    if state.argument(node, ceil_position, "ceil_mode", False):
        size = state.type_of(state.operand(node, 0)).shape[2:]
        extent = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
        padding = _rounded_up(padding, size, extent, stride)
    return {"kernel_size": kernel, "stride": stride, "padding": padding}


def _rounded_up(
    padding: tuple[int, int, int, int], size: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """More padding at the end, so that windows which torch's ceil_mode adds exist."""
    after = []
    for axis in (0, 1):
        before, end = padding[axis], padding[axis + 2]
        count = -(-(size[axis] + before + end - kernel[axis]) // stride[axis]) + 1
        # A window must start inside the image or its left padding.
        if (count - 1) * stride[axis] >= size[axis] + before:
            count -= 1
        end = max(end, (count - 1) * stride[axis] + kernel[axis] - size[axis] - before)
        assert window_size(size[axis], kernel[axis], stride[axis], before, end, 1) == count
        after.append(end)
    return padding[0], padding[1], after[0], after[1]


POOLING: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    "aten.max_pool2d": _max_pool,
    "aten.max_pool2d_with_indices": _max_pool_with_indices,
    "aten.max_unpool2d": _max_unpool,
    "aten.avg_pool2d": _avg_pool,
    "aten.avg_pool3d": _avg_pool3d,
    "aten.adaptive_avg_pool2d": _adaptive("adaptive_avg_pool"),
    "aten.adaptive_max_pool2d": _adaptive_max,
    "aten.upsample_bilinear2d": _bilinear,
}
