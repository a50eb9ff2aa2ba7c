"""Convolutions, dense layers, BatchNorm and dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError, pair


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


LAYERS: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    "aten.conv2d": _conv2d,
    "aten.conv_transpose2d": _conv_transpose2d,
    "aten.linear": _linear,
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _fixed_batch_norm,
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
}
