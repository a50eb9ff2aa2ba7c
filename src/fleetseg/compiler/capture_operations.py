"""How each ATen operation becomes a node: one function an operation, `TRANSLATIONS` names them.

Those that compute something are here, those that only move elements about in `capture_views`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError, pair
from fleetseg.compiler.capture_views import VIEWS
from fleetseg.compiler.types import window_size


def symmetric(padding: tuple[int, int]) -> tuple[int, int, int, int]:
    """(y, x) → (top, left, bottom, right)."""
    return padding[0], padding[1], padding[0], padding[1]


def _conv2d(state: Capture, node: Any) -> str:
    inputs = [state.operand(node, 0), state.operand(node, 1)]
    if state.argument(node, 2, "bias", None) is not None:
        inputs.append(state.operand(node, 2))
    stride, dilation = pair(state.argument(node, 3, "stride", 1)), pair(state.argument(node, 5, "dilation", 1))
    padding = state.argument(node, 4, "padding", 0)
    edges = _named_padding(padding, state.type_of(inputs[1]).shape[2:], dilation)
    groups = int(state.argument(node, 6, "groups", 1))
    return state.add(node, "conv2d", inputs, stride=stride, padding=edges, dilation=dilation, groups=groups)


def _named_padding(padding: Any, kernel: Sequence[int], dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        total = [dilation[i] * (kernel[i] - 1) for i in (0, 1)]
        before = [amount // 2 for amount in total]
        return before[0], before[1], total[0] - before[0], total[1] - before[1]
    return symmetric(pair(padding))


def _conv_transpose2d(state: Capture, node: Any) -> str:
    inputs = [state.operand(node, 0), state.operand(node, 1)]
    if state.argument(node, 2, "bias", None) is not None:
        inputs.append(state.operand(node, 2))
    names = (("stride", 3, 1), ("padding", 4, 0), ("output_padding", 5, 0), ("dilation", 7, 1))
    attributes = {name: pair(state.argument(node, at, name, default)) for name, at, default in names}
    groups = int(state.argument(node, 6, "groups", 1))
    return state.add(node, "conv_transpose2d", inputs, groups=groups, **attributes)


def _batch_norm(state: Capture, node: Any) -> str:
    if node.args[5]:
        raise UnsupportedOperationError("BatchNorm in training mode has no fixed result")
    return _normed(state, node, float(node.args[7]))


def _fixed_batch_norm(state: Capture, node: Any) -> list[Any]:
    """The form of which export leaves statistics beside the result, empty ones."""
    return [_normed(state, node, float(node.args[6])), None, None]


def _normed(state: Capture, node: Any, eps: float) -> str:
    x, gamma, beta, mean, variance = (node.args[i] for i in range(5))
    channels = state.type_of(str(state.values[x])).shape[1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale = state.values[gamma] if gamma is not None else state.constant(ones, f"{node.name}_ones")
    shift = state.values[beta] if beta is not None else state.constant(zeros, f"{node.name}_zeros")
    inputs = [state.values[x], scale, shift, state.values[mean], state.values[variance]]
    return state.add(node, "batch_norm", inputs, eps=eps)


def _dropout(state: Capture, node: Any) -> str:
    if state.argument(node, 2, "train", False):
        raise UnsupportedOperationError("dropout in training mode has no fixed result")
    return state.operand(node, 0)


def _number(state: Capture, node: Any, position: int) -> float | None:
    """The argument as a number, if it is one or a constant of one element."""
    value = node.args[position]
    if not isinstance(value, int | float):
        array = state.constants.get(str(state.values[value]))
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None
    return float(value)


def _affine(state: Capture, name: Any, value: str, scale: Any, shift: Any) -> str:
    """value · scale + shift with numbers or one number a channel."""
    shape = state.shape(value)
    channels = shape[1] if len(shape) > 1 else 1
    arrays = [np.broadcast_to(np.asarray(part, np.float32).ravel(), (channels,)) for part in (scale, shift)]
    base = name if isinstance(name, str) else str(name.name)
    constants = [
        state.constant(array, f"{base}_{kind}") for array, kind in zip(arrays, ("scale", "shift"), strict=True)
    ]
    return state.add(name, "affine", [value, *constants])


def _arithmetic(op: str) -> Callable[[Capture, Any], str]:
    """Of two tensors, or of one and a number; what is one number a channel becomes an `affine`."""

    def translate(state: Capture, node: Any) -> str:
        if node.kwargs.get("rounding_mode"):
            raise UnsupportedOperationError("a rounded division")
        factor = float(state.argument(node, 2, "alpha", 1)) if op in ("add", "sub") else 1.0
        numbers = [_number(state, node, position) for position in (0, 1)]
        if numbers[1] is not None:
            return _with_numbers(state, node, op, state.operand(node, 0), numbers[1] * factor, False)
        if numbers[0] is not None and factor == 1:
            return _with_numbers(state, node, op, state.operand(node, 1), numbers[0], True)
        names = [state.operand(node, 0), state.operand(node, 1)]
        if factor != 1:
            names[1] = _affine(state, f"{node.name}_scaled", names[1], factor, 0)
        for own, other in ((0, 1), (1, 0)):
            steps = _a_number_a_channel(state, names[own], names[other])
            if steps is not None:
                return _with_numbers(state, node, op, names[own], steps, own == 1)
        return state.add(node, op, names)

    return translate


def _a_number_a_channel(state: Capture, value: str, other: str) -> Any:
    """The constant `other` as an array with one number a channel of the map, if that is what it is."""
    shape = state.shape(value)
    array = state.constants.get(other)
    if array is None or value in state.constants or len(shape) != 4 or array.dtype != np.float32:
        return None
    full = (1,) * (4 - array.ndim) + array.shape
    return array.ravel() if full == (1, shape[1], 1, 1) else None


def _with_numbers(state: Capture, node: Any, op: str, value: str, numbers: Any, first: bool) -> str:
    """`first`: whether the numbers stand before the operator."""
    if op in ("maximum", "minimum"):
        limit = float(np.asarray(numbers).ravel()[0])
        if np.asarray(numbers).size > 1:
            raise UnsupportedOperationError("limits that differ by channel")
        low, high = (limit, math.inf) if op == "maximum" else (-math.inf, limit)
        return state.add(node, "clip", [value], low=low, high=high)
    if op == "add":
        return _affine(state, node, value, 1, numbers)
    if op == "sub":
        return (
            _affine(state, node, value, -1, numbers) if first else _affine(state, node, value, 1, -np.asarray(numbers))
        )
    if op == "mul":
        return _affine(state, node, value, numbers, 0)
    if not first:
        return _affine(state, node, value, 1 / np.asarray(numbers, np.float64), 0)
    shape = (1, -1) + (1,) * (len(state.shape(value)) - 2)
    constant = state.constant(np.asarray(numbers, np.float32).reshape(shape), f"{node.name}_numbers")
    return state.add(node, op, [constant, value])


def _rsub(state: Capture, node: Any) -> str:
    number = _number(state, node, 1)
    if number is None or state.argument(node, 2, "alpha", 1) != 1:
        raise UnsupportedOperationError("a reversed difference of tensors")
    return _affine(state, node, state.operand(node, 0), -1, number)


def _negative(state: Capture, node: Any) -> str:
    return _affine(state, node, state.operand(node, 0), -1, 0)


def _reciprocal(state: Capture, node: Any) -> str:
    return _with_numbers(state, node, "div", state.operand(node, 0), 1.0, True)


def _power(state: Capture, node: Any) -> str:
    value, exponent = state.operand(node, 0), _number(state, node, 1)
    if exponent is None:
        raise UnsupportedOperationError("an exponent that is no number")
    if exponent == 2:
        return state.add(node, "mul", [value, value])
    return state.add(node, "power", [value], exponent=exponent)


def _square(state: Capture, node: Any) -> str:
    return state.add(node, "mul", [state.operand(node, 0)] * 2)


def _compare(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        if not all(argument in state.values for argument in node.args[:2]):
            raise UnsupportedOperationError("an operand that is a number, no tensor")
        return state.add(node, op, [state.operand(node, 0), state.operand(node, 1)])

    return translate


def _unary(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        return state.add(node, op, [state.operand(node, 0)])

    return translate


def _prelu(state: Capture, node: Any) -> str:
    return state.add(node, "prelu", [state.operand(node, 0), state.operand(node, 1)])


def _clip(state: Capture, node: Any) -> str:
    defaults = (-1, 1) if "hardtanh" in str(node.target) else (None, None)
    low, high = (state.argument(node, 1 + i, name, defaults[i]) for i, name in enumerate(_limits(node)))
    if any(not isinstance(limit, int | float | None) for limit in (low, high)):
        raise UnsupportedOperationError("limits that are tensors")
    value = state.operand(node, 0)
    if (low, high) == (0, 6):
        return state.add(node, "relu6", [value])
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return state.add(node, "clip", [value], low=low, high=high)


def _limits(node: Any) -> tuple[str, str]:
    return ("min_val", "max_val") if "hardtanh" in str(node.target) else ("min", "max")


def _clamp_min(state: Capture, node: Any) -> str:
    return state.add(node, "clip", [state.operand(node, 0)], low=float(node.args[1]), high=math.inf)


def _clamp_max(state: Capture, node: Any) -> str:
    return state.add(node, "clip", [state.operand(node, 0)], low=-math.inf, high=float(node.args[1]))


def _gelu(state: Capture, node: Any) -> str:
    kind = state.argument(node, 1, "approximate", "none")
    return state.add(node, "gelu" if kind == "none" else "gelu_tanh", [state.operand(node, 0)])


def _linear(state: Capture, node: Any) -> str:
    """A 1×1 convolution over the last axis."""
    value, weight = state.operand(node, 0), state.operand(node, 1)
    shape = state.shape(value)
    size_out, size_in = state.shape(weight)
    count = int(np.prod(shape[:-1]))
    kernel = state.add(f"{node.name}_kernel", "reshape", [weight], shape=(size_out, size_in, 1, 1))
    inputs = [
        state.rearrange(f"{node.name}_last", value, ("reshape", (1, count, size_in, 1)), ("permute", (0, 2, 3, 1))),
        kernel,
    ]
    if state.argument(node, 2, "bias", None) is not None:
        inputs.append(state.operand(node, 2))
    window = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    result = state.add(f"{node.name}_conv", "conv2d", inputs, **window)
    return state.rearrange(node, result, ("permute", (0, 3, 1, 2)), ("reshape", (*shape[:-1], size_out)))


def _softmax(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        value = state.operand(node, 0)
        shape = state.shape(value)
        axis = int(node.args[1]) % len(shape)
        if (len(shape), axis) == (4, 1):
            return state.add(node, op, [value])
        order = (axis, *(other for other in range(len(shape)) if other != axis))
        moved = tuple(shape[i] for i in order)
        back = tuple(int(i) for i in np.argsort(order))
        first = state.rearrange(
            f"{node.name}_first", value, ("permute", order), ("reshape", (1, shape[axis], 1, int(np.prod(moved[1:]))))
        )
        result = state.add(f"{node.name}_map", op, [first])
        return state.rearrange(node, result, ("reshape", moved), ("permute", back))

    return translate


def _reduced(op: str) -> Callable[[Capture, Any], str]:
    """mean, sum or amax over axes: pooling to one pixel, the axes brought to where the pixels are."""

    def translate(state: Capture, node: Any) -> str:
        value = state.operand(node, 0)
        shape = state.shape(value)
        given = state.argument(node, 1, "dim", None)
        axes = sorted(
            {int(axis) % len(shape) for axis in ([given] if isinstance(given, int) else given or range(len(shape)))}
        )
        kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
        count = int(np.prod([shape[axis] for axis in axes]))
        if (len(shape), axes) != (4, [2, 3]):
            flat = (1, int(np.prod([shape[axis] for axis in kept])), 1, count)
            value = state.rearrange(f"{node.name}_last", value, ("permute", (*kept, *axes)), ("reshape", flat))
        pool = "adaptive_max_pool" if op == "amax" else "adaptive_avg_pool"
        value = state.add(f"{node.name}_pool", pool, [value], size=(1, 1))
        if op == "sum":
            value = _affine(state, f"{node.name}_sum", value, count, 0)
        result = node.meta["val"][0].shape if isinstance(node.meta["val"], tuple) else node.meta["val"].shape
        return state.add(node, "reshape", [value], shape=tuple(int(size) for size in result))

    return translate


def _max_dim(state: Capture, node: Any) -> list[Any]:
    """(values, classes): whichever is used is made."""
    if int(node.args[1]) == 1 and all(user.args[1] == 1 for user in node.users):
        return [None, state.add(node, "argmax", [state.operand(node, 0)])]
    if any(user.args[1] == 1 for user in node.users):
        raise UnsupportedOperationError("indices of maxima along any axis but the channels', or beside the maxima")
    return [_reduced("amax")(state, node), None]


def _argmax(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    if len(state.shape(value)) != 4 or state.argument(node, 1, "dim", None) not in (1, -3):
        raise UnsupportedOperationError("indices of maxima along any axis but the channels'")
    return state.add(node, "argmax", [value])


def _leaky_relu(state: Capture, node: Any) -> str:
    slope = float(state.argument(node, 1, "negative_slope", 0.01))
    return state.add(node, "leaky_relu", [state.operand(node, 0)], slope=slope)


def _elu(state: Capture, node: Any) -> str:
    if state.argument(node, 2, "scale", 1) != 1 or state.argument(node, 3, "input_scale", 1) != 1:
        raise UnsupportedOperationError("ELU with scales")
    return state.add(node, "elu", [state.operand(node, 0)], alpha=float(state.argument(node, 1, "alpha", 1)))


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
        return _affine(state, node, mean, kernel[0] * kernel[1] / int(divisor), 0)
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


def _where(state: Capture, node: Any) -> str:
    return state.add(node, "where", [state.operand(node, i) for i in range(3)])


def _filled(value: float | None) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        number = float(node.args[1]) if value is None else value
        return state.constant(np.full(tuple(node.meta["val"].shape), number, np.float32), str(node.name))

    return translate


TRANSLATIONS: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    **VIEWS,
    "aten.conv2d": _conv2d,
    "aten.conv_transpose2d": _conv_transpose2d,
    "aten.linear": _linear,
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _fixed_batch_norm,
    "aten.prelu": _prelu,
    **{f"aten.{name}": _unary(name) for name in ("relu", "relu6", "silu", "sigmoid", "tanh")},
    "aten.hardswish": _unary("hard_swish"),
    "aten.hardsigmoid": _unary("hard_sigmoid"),
    "aten.hardtanh": _clip,
    "aten.clamp": _clip,
    "aten.clamp_min": _clamp_min,
    "aten.clamp_max": _clamp_max,
    "aten.leaky_relu": _leaky_relu,
    "aten.elu": _elu,
    "aten.gelu": _gelu,
    **{f"aten.{name}": _arithmetic(name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    "aten.rsub": _rsub,
    "aten.neg": _negative,
    "aten.reciprocal": _reciprocal,
    "aten.pow": _power,
    "aten.square": _square,
    "aten.max_pool2d": _max_pool,
    "aten.max_pool2d_with_indices": _max_pool_with_indices,
    "aten.max_unpool2d": _max_unpool,
    "aten.avg_pool2d": _avg_pool,
    "aten.avg_pool3d": _avg_pool3d,
    "aten.adaptive_avg_pool2d": _adaptive("adaptive_avg_pool"),
    "aten.adaptive_max_pool2d": _adaptive_max,
    "aten.mean": _reduced("mean"),
    "aten.sum": _reduced("sum"),
    "aten.amax": _reduced("amax"),
    "aten.max": _max_dim,
    "aten.argmax": _argmax,
    "aten.softmax": _softmax("softmax"),
    "aten.log_softmax": _softmax("log_softmax"),
    "aten.upsample_bilinear2d": _bilinear,
    "aten.eq": _compare("equal"),
    "aten.__and__": _compare("logical_and"),
    "aten.__or__": _compare("logical_or"),
    "aten.bitwise_and": _compare("logical_and"),
    "aten.bitwise_or": _compare("logical_or"),
    "aten.bitwise_not": _unary("logical_not"),
    "aten.where": _where,
    "aten.zeros": _filled(0.0),
    "aten.zeros_like": _filled(0.0),
    "aten.ones": _filled(1.0),
    "aten.ones_like": _filled(1.0),
    "aten.full": _filled(None),
    "aten.full_like": _filled(None),
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
}
