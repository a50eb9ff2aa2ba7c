"""What every operation means, in NumPy. PyTorch, this and the generated C are checked against each other.

Written to be obviously right: no operation knows about layouts, tiles or targets.
"""

# Every operation has the signature of the table below, whether it reads the attributes or not.
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.interpret_windows import avg_pool, conv2d, conv_transpose2d, max_pool, pyramid
from fleetseg.compiler.ir import NUMPY_TYPES, Array, Graph, Node, Step
from fleetseg.compiler.pairs import round_to_bf16
from fleetseg.compiler.types import BINARY, UNARY

Attributes = Mapping[str, Any]


def interpret(graph: Graph, inputs: Mapping[str, Array]) -> list[Array]:
    """Run the graph on inputs of its types; the outputs in order."""
    values: dict[str, Array] = {**graph.constants, **inputs}
    for name, tensor_type in graph.inputs.items():
        if inputs[name].shape != tensor_type.shape:
            raise ValueError(f"input {name} has shape {inputs[name].shape}; {tensor_type} is needed")
        if tensor_type.element == "bf16":
            values[name] = round_to_bf16(inputs[name])
    for node in graph.nodes:
        values[node.name] = evaluate(node, values)
    return [values[name] for name in graph.outputs]


def evaluate(node: Node, values: Mapping[str, Array]) -> Array:
    """The node's value from its operands' values."""
    operands = [values[name] for name in node.inputs]
    result = OPERATIONS[node.op](operands, node.attributes)
    for step in node.epilogue:
        if step.op == "argmax":
            result = OPERATIONS["argmax"]([result], {})
            continue
        result = _apply(step, result, [values[name] for name in step.operands])
    if result.shape != node.type.shape:
        raise AssertionError(f"{node.name} = {node.op} gave {result.shape}, declared {node.type}")
    result = np.ascontiguousarray(result, dtype=NUMPY_TYPES[node.type.element])
    return round_to_bf16(result) if node.type.element == "bf16" else result


def _apply(step: Step, result: Array, operands: Sequence[Array]) -> Array:
    first, last = step.channels or (0, result.shape[1])
    part = OPERATIONS[step.op]([result[:, first:last], *operands], step.attributes)
    return np.concatenate((result[:, :first], part, result[:, last:]), axis=1)


def _per_channel(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


def _batch_norm(operands: Sequence[Array], attributes: Attributes) -> Array:
    x, gamma, beta, mean, variance = operands
    scale = gamma / np.sqrt(variance + np.float32(attributes["eps"]))
    return (x - _per_channel(mean)) * _per_channel(scale) + _per_channel(beta)


def _sigmoid(x: Array) -> Array:
    # exp of a large positive number would overflow on the other side.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _elu(operands: Sequence[Array], attributes: Attributes) -> Array:
    x = operands[0]
    return np.where(x > 0, x, np.float32(attributes["alpha"]) * np.expm1(np.minimum(x, 0)))


def _slice(operands: Sequence[Array], attributes: Attributes) -> Array:
    axis = attributes["axis"]
    index = [slice(None)] * operands[0].ndim
    index[axis] = slice(attributes["start"], attributes["stop"], attributes["step"])
    return operands[0][tuple(index)]


def _conv2d(operands: Sequence[Array], attributes: Attributes) -> Array:
    result = conv2d(operands, attributes)
    return pixel_shuffle(result, attributes["shuffle"]) if "shuffle" in attributes else result


def _pool_place(operands: Sequence[Array], attributes: Attributes) -> Array:
    """2·row + column of the first maximum, in row-major order, of each 2×2 window."""
    x = operands[0]
    windows = np.stack([x[..., dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)])
    return np.asarray(np.argmax(windows, axis=0), np.uint8)


def unpool(values: Array, place: Array) -> Array:
    """Each value goes to its place in a 2×2 window, zeros elsewhere."""
    _, channels, height, width = values.shape
    result = np.zeros((1, channels, 2 * height, 2 * width), values.dtype)
    for index in range(4):
        result[..., index // 2 :: 2, index % 2 :: 2] = np.where(place == index, values, 0)
    return result


def pixel_shuffle(x: Array, factor: int) -> Array:
    """(1, C·f², H, W) → (1, C, H·f, W·f)."""
    _, channels, height, width = x.shape
    parts = x.reshape(channels // factor**2, factor, factor, height, width)
    return parts.transpose(0, 3, 1, 4, 2).reshape(1, channels // factor**2, height * factor, width * factor)


OPERATIONS: Mapping[str, Callable[[Sequence[Array], Attributes], Array]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": conv_transpose2d,
    "pyramid": pyramid,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "batch_norm": _batch_norm,
    "affine": lambda o, a: o[0] * _per_channel(o[1]) + _per_channel(o[2]),
    "prelu": lambda o, a: np.where(o[0] > 0, o[0], o[0] * _per_channel(o[1])),
    "relu": lambda o, a: np.maximum(o[0], 0),
    "relu6": lambda o, a: np.clip(o[0], 0, 6),
    "leaky_relu": lambda o, a: np.where(o[0] > 0, o[0], o[0] * np.float32(a["slope"])),
    "elu": _elu,
    "sigmoid": lambda o, a: _sigmoid(o[0]),
    "silu": lambda o, a: o[0] * _sigmoid(o[0]),
    "hard_swish": lambda o, a: o[0] * np.clip(o[0] + 3, 0, 6) / 6,
    "add": lambda o, a: o[0] + o[1],
    "mul": lambda o, a: o[0] * o[1],
    "concat": lambda o, a: np.concatenate(o, axis=a["axis"]),
    "slice": _slice,
    "pad": lambda o, a: np.pad(o[0], a["amounts"]),
    "pool_place": _pool_place,
    "unpool": lambda o, a: unpool(o[0], o[1]),
    "add_unpooled": lambda o, a: o[0] + unpool(o[1], o[2]),
    "pixel_shuffle": lambda o, a: pixel_shuffle(o[0], a["factor"]),
    "equal": lambda o, a: o[0] == o[1],
    "logical_and": lambda o, a: o[0] & o[1],
    "logical_or": lambda o, a: o[0] | o[1],
    "logical_not": lambda o, a: ~o[0],
    "where": lambda o, a: np.where(o[0], o[1], o[2]),
    "reshape": lambda o, a: o[0].reshape(a["shape"]),
    "argmax": lambda o, a: np.argmax(o[0], axis=1, keepdims=True).astype(np.uint8),
    "copy": lambda o, a: o[0],
}

assert OPERATIONS.keys() >= UNARY | BINARY, "an operation without a meaning"
