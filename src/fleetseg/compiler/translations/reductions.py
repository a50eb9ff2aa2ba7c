"""Means, sums and maxima over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError
from fleetseg.compiler.translations.arithmetic import affine


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
            value = affine(state, f"{node.name}_sum", value, count, 0)
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


REDUCTIONS: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    "aten.mean": _reduced("mean"),
    "aten.sum": _reduced("sum"),
    "aten.amax": _reduced("amax"),
    "aten.max": _max_dim,
    "aten.argmax": _argmax,
}
