"""Functions of one value, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError


def unary(op: str) -> Callable[[Capture, Any], str]:
    """Of an operation of one value without attributes."""

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


def _leaky_relu(state: Capture, node: Any) -> str:
    slope = float(state.argument(node, 1, "negative_slope", 0.01))
    return state.add(node, "leaky_relu", [state.operand(node, 0)], slope=slope)


def _elu(state: Capture, node: Any) -> str:
    if state.argument(node, 2, "scale", 1) != 1 or state.argument(node, 3, "input_scale", 1) != 1:
        raise UnsupportedOperationError("ELU with scales")
    return state.add(node, "elu", [state.operand(node, 0)], alpha=float(state.argument(node, 1, "alpha", 1)))


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


ACTIVATIONS: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    "aten.prelu": _prelu,
    **{f"aten.{name}": unary(name) for name in ("relu", "relu6", "silu", "sigmoid", "tanh")},
    "aten.hardswish": unary("hard_swish"),
    "aten.hardsigmoid": unary("hard_sigmoid"),
    "aten.hardtanh": _clip,
    "aten.clamp": _clip,
    "aten.clamp_min": _clamp_min,
    "aten.clamp_max": _clamp_max,
    "aten.leaky_relu": _leaky_relu,
    "aten.elu": _elu,
    "aten.gelu": _gelu,
    "aten.softmax": _softmax("softmax"),
    "aten.log_softmax": _softmax("log_softmax"),
    "aten.bitwise_not": unary("logical_not"),
    "aten.logical_not": unary("logical_not"),
}
