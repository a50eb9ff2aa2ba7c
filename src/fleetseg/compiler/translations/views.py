"""ATen operations that move elements about: shapes, axes, slices, padding, shuffles, nearest resizing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.capture_state import Capture, UnsupportedOperationError
from fleetseg.compiler.sampling import nearest_positions
from fleetseg.compiler.views import channel_shuffle_steps, pixel_unshuffle_steps

#: How np.pad calls what torch pads with.
_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _same(state: Capture, node: Any) -> str:
    return state.operand(node, 0)


def _to(state: Capture, node: Any) -> str:
    kept = str(node.meta["val"].dtype)
    if kept != "torch.float32":
        raise UnsupportedOperationError(f"a change to {kept}")
    return state.operand(node, 0)


def _reshape(state: Capture, node: Any) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    value = state.operand(node, 0)
    return value if state.shape(value) == shape else state.add(node, "reshape", [value], shape=shape)


def _permute(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    rank = len(state.shape(value))
    return state.rearrange(node, value, ("permute", tuple(int(axis) % rank for axis in node.args[1])))


def _transpose(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    axes = list(range(len(state.shape(value))))
    first, second = (int(axis) % len(axes) for axis in node.args[1:3])
    axes[first], axes[second] = axes[second], axes[first]
    return state.rearrange(node, value, ("permute", tuple(axes)))


def _expand(state: Capture, node: Any) -> str:
    return state.rearrange(node, state.operand(node, 0), ("expand", tuple(int(n) for n in node.meta["val"].shape)))


def _repeat(state: Capture, node: Any) -> str:
    value, times = state.operand(node, 0), [int(count) for count in node.args[1]]
    shape = (1,) * (len(times) - len(state.shape(value))) + state.shape(value)
    takes = [
        ("take", axis, tuple(range(size)) * count)
        for axis, (size, count) in enumerate(zip(shape, times, strict=True))
        if count != 1
    ]
    return state.rearrange(node, value, ("reshape", shape), *takes)


def _flip(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    shape = state.shape(value)
    axes = [int(axis) % len(shape) for axis in node.args[1]]
    return state.rearrange(node, value, *(("take", axis, tuple(range(shape[axis]))[::-1]) for axis in axes))


def _roll(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    shape, axes = state.shape(value), state.argument(node, 2, "dims", [])
    if not axes:
        raise UnsupportedOperationError("rolling a flattened tensor")
    steps = [
        ("take", int(axis) % len(shape), tuple(int(i) for i in np.roll(np.arange(shape[axis]), shift)))
        for shift, axis in zip(node.args[1], axes, strict=True)
    ]
    return state.rearrange(node, value, *steps)


def _index(state: Capture, node: Any) -> str:
    value, indices = state.operand(node, 0), list(node.args[1])
    given = [axis for axis, index in enumerate(indices) if index is not None]
    numbers = state.constants.get(str(state.values[indices[given[0]]])) if len(given) == 1 else None
    if numbers is None or numbers.ndim != 1 or numbers.dtype.kind != "i":
        raise UnsupportedOperationError("an index that is no fixed list of numbers along one axis")
    size = state.shape(value)[given[0]]
    return state.rearrange(node, value, ("take", given[0], tuple(int(i) % size for i in numbers)))


def _index_select(state: Capture, node: Any) -> str:
    value, numbers = state.operand(node, 0), state.constants.get(state.operand(node, 2))
    if numbers is None:
        raise UnsupportedOperationError("an index that is no fixed list of numbers")
    return state.rearrange(node, value, ("take", int(node.args[1]), tuple(int(i) for i in numbers)))


def _concat(state: Capture, node: Any) -> str:
    values = [str(state.values[value]) for value in node.args[0]]
    axis = int(state.argument(node, 1, "dim", 0)) % len(state.shape(values[0]))
    return values[0] if len(values) == 1 else state.add(node, "concat", values, axis=axis)


def _stack(state: Capture, node: Any) -> str:
    values = [str(state.values[value]) for value in node.args[0]]
    shape = state.shape(values[0])
    axis = int(state.argument(node, 1, "dim", 0)) % (len(shape) + 1)
    taller = (*shape[:axis], 1, *shape[axis:])
    parts = [state.add(f"{node.name}_{index}", "reshape", [value], shape=taller) for index, value in enumerate(values)]
    return state.add(node, "concat", parts, axis=axis)


def _sliced(state: Capture, name: Any, value: str, axis: int, start: Any, stop: Any, step: int = 1) -> str:
    shape = state.shape(value)
    first, last, _ = slice(start, stop).indices(shape[axis])
    if (first, last, step) == (0, shape[axis], 1):
        return value
    return state.add(name, "slice", [value], axis=axis, start=first, stop=last, step=step)


def _slice(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    axis = int(state.argument(node, 1, "dim", 0)) % len(state.shape(value))
    start, stop = state.argument(node, 2, "start", None), state.argument(node, 3, "end", None)
    return _sliced(state, node, value, axis, start, stop, int(state.argument(node, 4, "step", 1)))


def _narrow(state: Capture, node: Any) -> str:
    value, (axis, start, length) = state.operand(node, 0), (int(number) for number in node.args[1:4])
    return _sliced(state, node, value, axis % len(state.shape(value)), start, start + length)


def _select(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    shape = state.shape(value)
    axis = int(node.args[1]) % len(shape)
    index = int(node.args[2]) % shape[axis]
    part = _sliced(state, f"{node.name}_slice", value, axis, index, index + 1)
    return state.add(node, "reshape", [part], shape=shape[:axis] + shape[axis + 1 :])


def _split(state: Capture, node: Any) -> list[str]:
    """split, split_with_sizes and chunk: a list of sizes, or one for all parts but the last."""
    value = state.operand(node, 0)
    axis = int(state.argument(node, 2, "dim", 0)) % len(state.shape(value))
    parts, start = [], 0
    for index, part in enumerate(node.meta["val"]):
        stop = start + int(part.shape[axis])
        parts.append(_sliced(state, f"{node.name}_{index}", value, axis, start, stop))
        start = stop
    return parts


def _unbind(state: Capture, node: Any) -> list[str]:
    value = state.operand(node, 0)
    shape = state.shape(value)
    axis = int(state.argument(node, 1, "dim", 0)) % len(shape)
    thinner = shape[:axis] + shape[axis + 1 :]
    parts = [_sliced(state, f"{node.name}_{i}_slice", value, axis, i, i + 1) for i in range(shape[axis])]
    return [state.add(f"{node.name}_{i}", "reshape", [part], shape=thinner) for i, part in enumerate(parts)]


def _slice_scatter(state: Capture, node: Any) -> str:
    """What assigning to a slice leaves: the parts before and behind, and the new one between them."""
    value, new = state.operand(node, 0), state.operand(node, 1)
    size_axis = int(state.argument(node, 2, "dim", 0)) % len(state.shape(value))
    size = state.shape(value)[size_axis]
    start, stop = state.argument(node, 3, "start", None), state.argument(node, 4, "end", None)
    first, last, _ = slice(start, stop).indices(size)
    if int(state.argument(node, 5, "step", 1)) != 1:
        raise UnsupportedOperationError("an assignment to every second element")
    parts = [_sliced(state, f"{node.name}_before", value, size_axis, 0, first)] if first else []
    parts.append(new)
    parts += [_sliced(state, f"{node.name}_behind", value, size_axis, last, size)] if last < size else []
    return new if len(parts) == 1 else state.add(node, "concat", parts, axis=size_axis)


def _copy(state: Capture, node: Any) -> str:
    target, value = state.operand(node, 0), state.operand(node, 1)
    if state.shape(target) != state.shape(value):
        return state.rearrange(node, value, ("expand", state.shape(target)))
    return value


def _pad(state: Capture, node: Any) -> str:
    """Zeros become a `pad`, negative amounts slices, mirrored and repeated borders a choice of rows and columns."""
    value, amounts = state.operand(node, 0), [int(amount) for amount in node.args[1]]
    mode, fill = state.argument(node, 2, "mode", "constant"), state.argument(node, 3, "value", 0) or 0
    rank = len(state.shape(value))
    # torch lists the last axis first.
    pairs = [(amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)]
    pairs = [*((0, 0) for _ in range(rank - len(pairs))), *reversed(pairs)]
    if mode != "constant":
        return _bordered(state, node, value, pairs, mode)
    if fill != 0:
        raise UnsupportedOperationError("padding with anything but zeros")
    for axis, (before, after) in enumerate(pairs):
        if min(before, after) < 0:
            last = state.shape(value)[axis] + min(after, 0)
            value = _sliced(state, f"{node.name}_{axis}", value, axis, max(-before, 0), last)
    positive = tuple((max(before, 0), max(after, 0)) for before, after in pairs)
    return state.add(node, "pad", [value], amounts=positive) if any(map(any, positive)) else value


def _bordered(state: Capture, node: Any, value: str, pairs: Sequence[tuple[int, int]], mode: str) -> str:
    steps = []
    for axis, pair in enumerate(pairs):
        if any(pair):
            if mode not in _MODES or min(pair) < 0:
                raise UnsupportedOperationError(f"padding of mode '{mode}' by {pair}")
            numbers = np.pad(np.arange(state.shape(value)[axis]), pair, mode=_MODES[mode])  # type: ignore[call-overload]
            steps.append(("take", axis, tuple(int(number) for number in numbers)))
    return state.rearrange(node, value, *steps)


def _pixel_shuffle(state: Capture, node: Any) -> str:
    return state.add(node, "pixel_shuffle", [state.operand(node, 0)], factor=int(node.args[1]))


def _pixel_unshuffle(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    return state.rearrange(node, value, *pixel_unshuffle_steps(state.shape(value), int(node.args[1])))


def _channel_shuffle(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    return state.rearrange(node, value, *channel_shuffle_steps(state.shape(value), int(node.args[1])))


def _nearest(exact: bool) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        value = state.operand(node, 0)
        factors = state.argument(node, 2, "scale_factors", None)
        steps = []
        for axis in (2, 3):
            out, scale = int(node.meta["val"].shape[axis]), float(factors[axis - 2]) if factors else None
            places = nearest_positions(state.shape(value)[axis], out, scale, exact)
            steps.append(("take", axis, tuple(int(place) for place in places)))
        return state.rearrange(node, value, *steps)

    return translate


def _getitem(state: Capture, node: Any) -> str:
    return str(state.values[node.args[0]][node.args[1]])


VIEWS: Mapping[str, Callable[[Capture, Any], str | list[str]]] = {
    **dict.fromkeys(
        ("aten.alias", "aten.contiguous", "aten.clone", "aten.detach", "aten.lift_fresh_copy", "aten.detach_"), _same
    ),
    **dict.fromkeys(("aten.to", "aten._to_copy", "aten.float"), _to),
    **dict.fromkeys(
        ("aten.flatten", "aten.unflatten", "aten.unsqueeze", "aten.squeeze", "aten.reshape", "aten.view"), _reshape
    ),
    "aten._unsafe_view": _reshape,
    "aten.permute": _permute,
    "aten.transpose": _transpose,
    "aten.expand": _expand,
    "aten.repeat": _repeat,
    "aten.flip": _flip,
    "aten.roll": _roll,
    "aten.index": _index,
    "aten.index_select": _index_select,
    "aten.cat": _concat,
    "aten.stack": _stack,
    "aten.slice": _slice,
    "aten.narrow": _narrow,
    "aten.select": _select,
    "aten.split": _split,
    "aten.split_with_sizes": _split,
    "aten.chunk": _split,
    "aten.unbind": _unbind,
    "aten.slice_scatter": _slice_scatter,
    "aten.copy": _copy,
    "aten.pad": _pad,
    "aten.constant_pad_nd": _pad,
    "aten.pixel_shuffle": _pixel_shuffle,
    "aten.pixel_unshuffle": _pixel_unshuffle,
    "aten.channel_shuffle": _channel_shuffle,
    "aten.upsample_nearest2d": _nearest(exact=False),
    "aten._upsample_nearest_exact2d": _nearest(exact=True),
    "<built-in function getitem>": _getitem,
}
