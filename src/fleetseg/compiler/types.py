"""What type each operation gives, from the types of its operands."""

# Every rule has the signature of the table below, whether it reads the attributes or not.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.ir import TensorType
from fleetseg.compiler.views import shape_after

Types = Sequence[TensorType]
Attributes = Mapping[str, Any]
#: (top, left, bottom, right)
Padding = tuple[int, int, int, int]

#: Point-wise operations of one value, legal as nodes and as epilogue steps; extra operands are per channel.
UNARY = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "silu", "sigmoid", "hard_swish", "affine", "prelu", "batch_norm"}
    | {"hard_sigmoid", "tanh", "gelu", "gelu_tanh", "clip"}
)
#: Point-wise operations of two values; of equal types they are legal as epilogue steps too.
BINARY = frozenset({"add", "mul"})
#: Those that are nodes alone.
ARITHMETIC = BINARY | {"sub", "div", "maximum", "minimum"}


class TypeMismatchError(Exception):
    """Operands that an operation cannot take."""


def infer(op: str, types: Types, attributes: Attributes) -> TensorType:
    """The result's type; `TypeMismatchError` for operands that do not fit, `KeyError` for an unknown operation."""
    result = _unary(op, types) if op in UNARY else RULES[op](types, attributes)
    # A kernel may store its result in another element than the one in which it computes.
    stored = attributes.get("stored")
    return TensorType(result.shape, stored) if stored else result


def window_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Positions of a window along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def _unary(op: str, types: Types) -> TensorType:
    for other in types[1:]:
        channels = types[0].shape[1]
        if other.shape not in ((channels,), (1,)):
            raise TypeMismatchError(f"{op} of {types[0]} with parameters {other}")
    return types[0]


def _binary(types: Types, attributes: Attributes) -> TensorType:
    if types[0] != types[1]:
        raise TypeMismatchError(f"{types[0]} with {types[1]}; equal types are needed")
    return types[0]


def _arithmetic(types: Types, attributes: Attributes) -> TensorType:
    try:
        shape = np.broadcast_shapes(types[0].shape, types[1].shape)
    except ValueError:
        shape = ()
    if types[0].element != types[1].element or not shape:
        raise TypeMismatchError(f"{types[0]} with {types[1]}; shapes that go together are needed")
    return TensorType(shape, types[0].element)


def _conv2d(types: Types, attributes: Attributes) -> TensorType:
    (_, channels, height, width), (out, per_group, *kernel) = types[0].shape, types[1].shape
    if channels != per_group * attributes["groups"]:
        raise TypeMismatchError(f"{channels} channels with weights for {per_group} × {attributes['groups']} groups")
    rows, columns = _windows((height, width), kernel, attributes)
    plain = TensorType((1, out, rows, columns))
    # A pixel shuffle may be part of how the result is stored; it comes before the epilogue.
    factor = attributes.get("shuffle", 1)
    return plain if factor == 1 else _pixel_shuffle([plain], {"factor": factor})


def _windows(size: Sequence[int], kernel: Sequence[int], attributes: Attributes) -> tuple[int, int]:
    top, left, bottom, right = attributes["padding"]
    (stride_y, stride_x), (dilation_y, dilation_x) = attributes["stride"], attributes.get("dilation", (1, 1))
    rows = window_size(size[0], kernel[0], stride_y, top, bottom, dilation_y)
    columns = window_size(size[1], kernel[1], stride_x, left, right, dilation_x)
    if rows < 1 or columns < 1:
        raise TypeMismatchError(f"a window of {tuple(kernel)} does not fit into {tuple(size)}")
    return rows, columns


def _conv_transpose2d(types: Types, attributes: Attributes) -> TensorType:
    (_, channels, *size), (weight_in, per_group, *kernel) = types[0].shape, types[1].shape
    if channels != weight_in:
        raise TypeMismatchError(f"{channels} channels with weights for {weight_in}")
    rows, columns = (
        (size[i] - 1) * attributes["stride"][i]
        - 2 * attributes["padding"][i]
        + attributes["dilation"][i] * (kernel[i] - 1)
        + attributes["output_padding"][i]
        + 1
        for i in (0, 1)
    )
    return TensorType((1, per_group * attributes["groups"], rows, columns))


def _pyramid(types: Types, attributes: Attributes) -> TensorType:
    _, _, height, width = types[0].shape
    return TensorType((1, sum(weight.shape[0] for weight in types[1:]), height, width))


def _concat(types: Types, attributes: Attributes) -> TensorType:
    axis = attributes["axis"]
    first = types[0].shape
    for other in types[1:]:
        if other.element != types[0].element or _without(other.shape, axis) != _without(first, axis):
            raise TypeMismatchError(f"{types[0]} joined with {other}")
    total = sum(t.shape[axis] for t in types)
    return TensorType((*first[:axis], total, *first[axis + 1 :]), types[0].element)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _slice(types: Types, attributes: Attributes) -> TensorType:
    axis, start, stop, step = (attributes[key] for key in ("axis", "start", "stop", "step"))
    shape = types[0].shape
    length = len(range(start, stop, step))
    if not 0 <= start < stop <= shape[axis]:
        raise TypeMismatchError(f"slice {start}:{stop} of an axis of {shape[axis]}")
    return TensorType((*shape[:axis], length, *shape[axis + 1 :]), types[0].element)


def _pad(types: Types, attributes: Attributes) -> TensorType:
    amounts = attributes["amounts"]
    shape = tuple(size + before + after for size, (before, after) in zip(types[0].shape, amounts, strict=True))
    return TensorType(shape, types[0].element)


def _pool(types: Types, attributes: Attributes) -> TensorType:
    _, channels, *size = types[0].shape
    rows, columns = _windows(size, attributes["kernel_size"], attributes)
    return TensorType((1, channels, rows, columns))


def _pool_place(types: Types, attributes: Attributes) -> TensorType:
    _, channels, height, width = types[0].shape
    return TensorType((1, channels, height // 2, width // 2), "u8")


def _pool_index(types: Types, attributes: Attributes) -> TensorType:
    return TensorType(_pool(types, attributes).shape, "i32")


def _sized(types: Types, attributes: Attributes) -> TensorType:
    return TensorType((*types[0].shape[:2], *attributes["size"]))


def _max_unpool(types: Types, attributes: Attributes) -> TensorType:
    if types[0].shape != types[1].shape or types[1].element != "i32":
        raise TypeMismatchError(f"un-pooling {types[0]} by indices {types[1]}")
    return _sized(types, attributes)


def _avg_pool3d(types: Types, attributes: Attributes) -> TensorType:
    sizes = [size - kernel + 1 for size, kernel in zip(types[0].shape[2:], attributes["kernel_size"], strict=True)]
    return TensorType((*types[0].shape[:2], *sizes))


def _rearrange(types: Types, attributes: Attributes) -> TensorType:
    try:
        return TensorType(shape_after(types[0].shape, attributes["steps"]), types[0].element)
    except ValueError as error:
        raise TypeMismatchError(f"{types[0]}: {error}") from error


def _unpool(types: Types, attributes: Attributes) -> TensorType:
    if types[0].shape != types[1].shape:
        raise TypeMismatchError(f"un-pooling {types[0]} by places {types[1]}")
    _, channels, height, width = types[0].shape
    return TensorType((1, channels, 2 * height, 2 * width))


def _pixel_shuffle(types: Types, attributes: Attributes) -> TensorType:
    factor = attributes["factor"]
    _, channels, height, width = types[0].shape
    if channels % factor**2:
        raise TypeMismatchError(f"pixel shuffle by {factor} of {channels} channels")
    return TensorType((1, channels // factor**2, height * factor, width * factor), types[0].element)


def _same(types: Types, attributes: Attributes) -> TensorType:
    return types[0]


def _compare(types: Types, attributes: Attributes) -> TensorType:
    _binary(types, attributes)
    return TensorType(types[0].shape, "bool")


def _where(types: Types, attributes: Attributes) -> TensorType:
    shapes = [t.shape for t in types]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return TensorType(tuple(max(sizes) for sizes in zip(*padded, strict=True)), types[1].element)


def _reshape(types: Types, attributes: Attributes) -> TensorType:
    return TensorType(attributes["shape"], types[0].element)


def _argmax(types: Types, attributes: Attributes) -> TensorType:
    _, _, height, width = types[0].shape
    return TensorType((1, 1, height, width), "u8")


RULES: Mapping[str, Callable[[Types, Attributes], TensorType]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "pyramid": _pyramid,
    **dict.fromkeys(sorted(ARITHMETIC), _arithmetic),
    "concat": _concat,
    "join": _concat,
    "slice": _slice,
    "pad": _pad,
    "max_pool": _pool,
    "avg_pool": _pool,
    "avg_pool3d": _avg_pool3d,
    "adaptive_avg_pool": _sized,
    "adaptive_max_pool": _sized,
    "resize": _sized,
    "max_pool_index": _pool_index,
    "max_unpool": _max_unpool,
    "response_norm": _same,
    "softmax": _same,
    "log_softmax": _same,
    "power": _same,
    "rearrange": _rearrange,
    "pool_place": _pool_place,
    "unpool": _unpool,
    "pixel_shuffle": _pixel_shuffle,
    "equal": _compare,
    "logical_and": _binary,
    "logical_or": _binary,
    "logical_not": _same,
    "where": _where,
    "reshape": _reshape,
    "argmax": _argmax,
    "copy": _same,
}
