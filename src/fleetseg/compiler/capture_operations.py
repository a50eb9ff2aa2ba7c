"""How each ATen operation becomes a node: one function an operation, `TRANSLATIONS` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fleetseg.compiler.ir import Array, Node, TensorType, constant_type
from fleetseg.compiler.types import TypeMismatchError, infer, window_size


class UnsupportedOperationError(Exception):
    """A known operation with arguments that the compiler does not support."""


@dataclass
class Capture:
    """The graph under construction. `values` maps what torch calls a node to the name of its value here."""

    inputs: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[Any, Any] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    place: str = ""

    def constant(self, array: Array, name: str) -> str:
        """Keep an array under `name` (or a name like it); floats become float32."""
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        while name in self.constants or name in self.types:
            name += "_"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def type_of(self, name: str) -> TensorType:
        """The type of a value of the graph so far."""
        if name in self.inputs:
            return self.inputs[name]
        return constant_type(self.constants[name]) if name in self.constants else self.types[name]

    def add(self, fx_node: Any, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node named after torch's; `UnsupportedOperationError` for operands that do not fit."""
        name = fx_node if isinstance(fx_node, str) else str(fx_node.name)
        while name in self.types or name in self.inputs or name in self.constants:
            name += "_"
        try:
            result = infer(op, [self.type_of(value) for value in inputs], attributes)
        except TypeMismatchError as error:
            raise UnsupportedOperationError(str(error)) from error
        self.nodes.append(Node(name, op, tuple(inputs), result, MappingProxyType(attributes), place=self.place))
        self.types[name] = result
        return name

    def operand(self, node: Any, position: int) -> str:
        """The value that stands at a position of torch's arguments."""
        return str(self.values[node.args[position]])

    def argument(self, node: Any, position: int, name: str, default: Any) -> Any:
        """A plain argument, given by position, by name or not at all."""
        if len(node.args) > position:
            return node.args[position]
        return node.kwargs.get(name, default)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """torch lets one number stand for two."""
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


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
    x, gamma, beta, mean, variance = (node.args[i] for i in range(5))
    if node.args[5]:
        raise UnsupportedOperationError("BatchNorm in training mode has no fixed result")
    channels = state.type_of(str(state.values[x])).shape[1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale = state.values[gamma] if gamma is not None else state.constant(ones, f"{node.name}_ones")
    shift = state.values[beta] if beta is not None else state.constant(zeros, f"{node.name}_zeros")
    inputs = [state.values[x], scale, shift, state.values[mean], state.values[variance]]
    return state.add(node, "batch_norm", inputs, eps=float(node.args[7]))


def _same(state: Capture, node: Any) -> str:
    return state.operand(node, 0)


def _dropout(state: Capture, node: Any) -> str:
    if state.argument(node, 2, "train", False):
        raise UnsupportedOperationError("dropout in training mode has no fixed result")
    return state.operand(node, 0)


def _binary(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        if not all(argument in state.values for argument in node.args[:2]):
            raise UnsupportedOperationError("an operand that is a number, no tensor")
        if state.argument(node, 2, "alpha", 1) != 1:
            raise UnsupportedOperationError("a factor of the second operand")
        return state.add(node, op, [state.operand(node, 0), state.operand(node, 1)])

    return translate


def _unary(op: str) -> Callable[[Capture, Any], str]:
    def translate(state: Capture, node: Any) -> str:
        return state.add(node, op, [state.operand(node, 0)])

    return translate


def _prelu(state: Capture, node: Any) -> str:
    return state.add(node, "prelu", [state.operand(node, 0), state.operand(node, 1)])


def _hardtanh(state: Capture, node: Any) -> str:
    if (state.argument(node, 1, "min_val", -1), state.argument(node, 2, "max_val", 1)) != (0, 6):
        raise UnsupportedOperationError("limits other than ReLU6's 0 and 6")
    return state.add(node, "relu6", [state.operand(node, 0)])


def _leaky_relu(state: Capture, node: Any) -> str:
    slope = float(state.argument(node, 1, "negative_slope", 0.01))
    return state.add(node, "leaky_relu", [state.operand(node, 0)], slope=slope)


def _elu(state: Capture, node: Any) -> str:
    if state.argument(node, 2, "scale", 1) != 1 or state.argument(node, 3, "input_scale", 1) != 1:
        raise UnsupportedOperationError("ELU with scales")
    return state.add(node, "elu", [state.operand(node, 0)], alpha=float(state.argument(node, 1, "alpha", 1)))


def _concat(state: Capture, node: Any) -> str:
    values = [str(state.values[value]) for value in node.args[0]]
    axis = int(state.argument(node, 1, "dim", 0)) % len(state.type_of(values[0]).shape)
    return values[0] if len(values) == 1 else state.add(node, "concat", values, axis=axis)


def _stack(state: Capture, node: Any) -> str:
    values = [str(state.values[value]) for value in node.args[0]]
    shape = state.type_of(values[0]).shape
    axis = int(state.argument(node, 1, "dim", 0)) % (len(shape) + 1)
    taller = (*shape[:axis], 1, *shape[axis:])
    parts = [state.add(f"{node.name}_{index}", "reshape", [value], shape=taller) for index, value in enumerate(values)]
    return state.add(node, "concat", parts, axis=axis)


def _slice(state: Capture, node: Any) -> str:
    value = state.operand(node, 0)
    shape = state.type_of(value).shape
    axis = int(state.argument(node, 1, "dim", 0)) % len(shape)
    start, stop = state.argument(node, 2, "start", None), state.argument(node, 3, "end", None)
    step = int(state.argument(node, 4, "step", 1))
    first, last, _ = slice(start, stop).indices(shape[axis])
    if (first, last, step) == (0, shape[axis], 1):
        return value
    return state.add(node, "slice", [value], axis=axis, start=first, stop=last, step=step)


def _pad(state: Capture, node: Any) -> str:
    value, amounts = state.operand(node, 0), [int(amount) for amount in node.args[1]]
    if state.argument(node, 2, "mode", "constant") != "constant" or (state.argument(node, 3, "value", 0) or 0) != 0:
        raise UnsupportedOperationError("padding with anything but zeros")
    if min(amounts) < 0:
        raise UnsupportedOperationError("negative padding")
    if not any(amounts):
        return value
    rank = len(state.type_of(value).shape)
    # torch lists the last axis first.
    pairs = [(amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)]
    pairs += [(0, 0)] * (rank - len(pairs))
    return state.add(node, "pad", [value], amounts=tuple(reversed(pairs)))


def _max_pool(state: Capture, node: Any) -> str:
    if pair(state.argument(node, 4, "dilation", 1)) != (1, 1):
        raise UnsupportedOperationError("a dilated max-pool")
    return state.add(node, "max_pool", [state.operand(node, 0)], **_pool_window(state, node, 5))


def _avg_pool(state: Capture, node: Any) -> str:
    if state.argument(node, 6, "divisor_override", None) is not None:
        raise UnsupportedOperationError("an average with another divisor")
    window = _pool_window(state, node, 4)
    count = bool(state.argument(node, 5, "count_include_pad", True))
    if count and window["padding"] != symmetric(window["padding"][:2]):
        raise UnsupportedOperationError("counted padding with a rounded-up size")
    return state.add(node, "avg_pool", [state.operand(node, 0)], count_padding=count, **window)


def _pool_window(state: Capture, node: Any, ceil_position: int) -> dict[str, Any]:
    kernel = pair(state.argument(node, 1, "kernel_size", 1))
    stride = pair(state.argument(node, 2, "stride", ()) or kernel)
    padding = symmetric(pair(state.argument(node, 3, "padding", 0)))
    if state.argument(node, ceil_position, "ceil_mode", False):
        size = state.type_of(state.operand(node, 0)).shape[2:]
        padding = _rounded_up(padding, size, kernel, stride)
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


def _pixel_shuffle(state: Capture, node: Any) -> str:
    return state.add(node, "pixel_shuffle", [state.operand(node, 0)], factor=int(node.args[1]))


def _reshape(state: Capture, node: Any) -> str:
    shape = tuple(int(size) for size in node.meta["val"].shape)
    value = state.operand(node, 0)
    return value if state.type_of(value).shape == shape else state.add(node, "reshape", [value], shape=shape)


def _where(state: Capture, node: Any) -> str:
    return state.add(node, "where", [state.operand(node, i) for i in range(3)])


def _zeros(state: Capture, node: Any) -> str:
    return state.constant(np.zeros(tuple(node.meta["val"].shape), np.float32), str(node.name))


TRANSLATIONS: Mapping[str, Callable[[Capture, Any], str]] = {
    "aten.conv2d": _conv2d,
    "aten.conv_transpose2d": _conv_transpose2d,
    "aten.batch_norm": _batch_norm,
    "aten.prelu": _prelu,
    "aten.relu": _unary("relu"),
    "aten.relu_": _unary("relu"),
    "aten.relu6": _unary("relu6"),
    "aten.hardtanh": _hardtanh,
    "aten.hardtanh_": _hardtanh,
    "aten.leaky_relu": _leaky_relu,
    "aten.elu": _elu,
    "aten.elu_": _elu,
    "aten.silu": _unary("silu"),
    "aten.silu_": _unary("silu"),
    "aten.sigmoid": _unary("sigmoid"),
    "aten.hardswish": _unary("hard_swish"),
    "aten.hardswish_": _unary("hard_swish"),
    "aten.add": _binary("add"),
    "aten.add_": _binary("add"),
    "aten.mul": _binary("mul"),
    "aten.cat": _concat,
    "aten.stack": _stack,
    "aten.slice": _slice,
    "aten.pad": _pad,
    "aten.max_pool2d": _max_pool,
    "aten.avg_pool2d": _avg_pool,
    "aten.pixel_shuffle": _pixel_shuffle,
    "aten.eq": _binary("equal"),
    "aten.__and__": _binary("logical_and"),
    "aten.__or__": _binary("logical_or"),
    "aten.bitwise_and": _binary("logical_and"),
    "aten.bitwise_or": _binary("logical_or"),
    "aten.bitwise_not": _unary("logical_not"),
    "aten.where": _where,
    "aten.zeros": _zeros,
    "aten.flatten": _reshape,
    "aten.unsqueeze": _reshape,
    "aten.reshape": _reshape,
    "aten.view": _reshape,
    "aten.alias": _same,
    "aten.contiguous": _same,
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
}
