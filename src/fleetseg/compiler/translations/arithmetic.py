"""Sums, products, powers and comparisons, of maps and of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError


def _number(state: Capture, node: Any, position: int) -> float | None:
    """The argument as a number, if it is one or a constant of one element."""
    value = node.args[position]
    if not isinstance(value, int | float):
        array = state.constants.get(str(state.values[value]))
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None
    return float(value)


def affine(state: Capture, name: Any, value: str, scale: Any, shift: Any) -> str:
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
            names[1] = affine(state, f"{node.name}_scaled", names[1], factor, 0)
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
        return affine(state, node, value, 1, numbers)
    if op == "sub":
        return affine(state, node, value, -1, numbers) if first else affine(state, node, value, 1, -np.asarray(numbers))
    if op == "mul":
        return affine(state, node, value, numbers, 0)
    if not first:
        return affine(state, node, value, 1 / np.asarray(numbers, np.float64), 0)
    shape = (1, -1) + (1,) * (len(state.shape(value)) - 2)
    constant = state.constant(np.asarray(numbers, np.float32).reshape(shape), f"{node.name}_numbers")
    return state.add(node, op, [constant, value])


def _rsub(state: Capture, node: Any) -> str:
    number = _number(state, node, 1)
    if number is None or state.argument(node, 2, "alpha", 1) != 1:
        raise UnsupportedOperationError("a reversed difference of tensors")
    return affine(state, node, state.operand(node, 0), -1, number)


def _negative(state: Capture, node: Any) -> str:
    return affine(state, node, state.operand(node, 0), -1, 0)


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


def _where(state: Capture, node: Any) -> str:
    return state.add(node, "where", [state.operand(node, i) for i in range(3)])


def _filled(value: float | None) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        number = float(node.args[1]) if value is None else value
        return state.constant(np.full(tuple(node.meta["val"].shape), number, np.float32), str(node.name))

    return translate


ARITHMETIC: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    **{f"aten.{name}": _arithmetic(name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    "aten.rsub": _rsub,
    "aten.neg": _negative,
    "aten.reciprocal": _reciprocal,
    "aten.pow": _power,
    "aten.square": _square,
    "aten.eq": _compare("equal"),
    "aten.__and__": _compare("logical_and"),
    "aten.__or__": _compare("logical_or"),
    "aten.logical_and": _compare("logical_and"),
    "aten.logical_or": _compare("logical_or"),
    "aten.bitwise_and": _compare("logical_and"),
    "aten.bitwise_or": _compare("logical_or"),
    "aten.where": _where,
    "aten.zeros": _filled(0.0),
    "aten.zeros_like": _filled(0.0),
    "aten.ones": _filled(1.0),
    "aten.ones_like": _filled(1.0),
    "aten.full": _filled(None),
    "aten.full_like": _filled(None),
}
