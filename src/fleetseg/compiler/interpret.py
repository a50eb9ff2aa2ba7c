"""What every operation means, in NumPy. PyTorch, this and the generated C are checked against each other.

Written to be obviously right: no operation knows about layouts, tiles or targets.
"""

# Every operation has the signature of the table below, whether it reads the attributes or not.
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.interpret_windows import (
    adaptive_pool,
    avg_pool,
    avg_pool3d,
    conv2d,
    conv_transpose2d,
    max_pool,
    max_pool_index,
    pyramid,
)
from fleetseg.compiler.ir import NUMPY_TYPES, Array, Graph, Node, Step
from fleetseg.compiler.pairs import round_to_bf16
from fleetseg.compiler.sampling import linear_positions
from fleetseg.compiler.types import ARITHMETIC, UNARY
from fleetseg.compiler.views import rearranged

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


def _per_channel(values: Array, rank: int = 4) -> Array:
    return values.reshape(1, -1, *(1,) * (rank - 2)) if rank > 1 else values


def _batch_norm(operands: Sequence[Array], attributes: Attributes) -> Array:
    x, gamma, beta, mean, variance = operands
    scale = gamma / np.sqrt(variance + np.float32(attributes["eps"]))
    return (x - _per_channel(mean, x.ndim)) * _per_channel(scale, x.ndim) + _per_channel(beta, x.ndim)


def _sigmoid(x: Array) -> Array:
    # exp of a large positive number would overflow on the other side.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _elu(operands: Sequence[Array], attributes: Attributes) -> Array:
    x = operands[0]
    return np.where(x > 0, x, np.float32(attributes["alpha"]) * np.expm1(np.minimum(x, 0)))


def _gelu(operands: Sequence[Array], attributes: Attributes) -> Array:
    x = operands[0]
    # NumPy has no erf; float64 keeps the digits that the detour through Python's costs nothing.
    erf = np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)) if x.size else x
    return np.asarray(0.5 * x * (1 + erf), np.float32)


def _gelu_tanh(operands: Sequence[Array], attributes: Attributes) -> Array:
    x = operands[0]
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)))


def _softmax(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Over the channels."""
    powers = np.exp(operands[0] - operands[0].max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _log_softmax(operands: Sequence[Array], attributes: Attributes) -> Array:
    shifted = operands[0] - operands[0].max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _response_norm(operands: Sequence[Array], attributes: Attributes) -> Array:
    """x / (k + alpha · mean of x² over `size` neighbouring channels)^beta; channels outside count as zero."""
    x, size = operands[0], attributes["size"]
    squares = np.pad(x * x, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    base = np.float32(attributes["k"]) + np.float32(attributes["alpha"]) * (total / np.float32(size))
    return np.asarray(x / base ** np.float32(attributes["beta"]))


def _resize(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Bilinear."""
    x = operands[0]
    for axis in (2, 3):
        scale = attributes["scales"][axis - 2] if attributes["scales"] else None
        first, weight = linear_positions(x.shape[axis], attributes["size"][axis - 2], scale, attributes["corners"])
        behind = np.minimum(first + 1, x.shape[axis] - 1)
        weight = weight.reshape((-1, 1) if axis == 2 else (1, -1))
        x = np.take(x, first, axis) * (1 - weight) + np.take(x, behind, axis) * weight
    return x


def _max_unpool(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Each value goes to its index in its channel's flattened plane, the last one where several meet."""
    values, indices = operands
    channels = values.shape[1]
    result = np.zeros((channels, attributes["size"][0] * attributes["size"][1]), values.dtype)
    for channel in range(channels):
        for value, index in zip(values[0, channel].ravel(), indices[0, channel].ravel(), strict=True):
            result[channel, index] = value
    return result.reshape(1, channels, *attributes["size"])


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
    "affine": lambda o, a: o[0] * _per_channel(o[1], o[0].ndim) + _per_channel(o[2], o[0].ndim),
    "prelu": lambda o, a: np.where(o[0] > 0, o[0], o[0] * _per_channel(o[1], o[0].ndim)),
    "relu": lambda o, a: np.maximum(o[0], 0),
    "relu6": lambda o, a: np.clip(o[0], 0, 6),
    "leaky_relu": lambda o, a: np.where(o[0] > 0, o[0], o[0] * np.float32(a["slope"])),
    "elu": _elu,
    "sigmoid": lambda o, a: _sigmoid(o[0]),
    "silu": lambda o, a: o[0] * _sigmoid(o[0]),
    "hard_swish": lambda o, a: o[0] * np.clip(o[0] + 3, 0, 6) / 6,
    "hard_sigmoid": lambda o, a: np.clip(o[0] + 3, 0, 6) / 6,
    "tanh": lambda o, a: np.tanh(o[0]),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "clip": lambda o, a: np.clip(o[0], np.float32(a["low"]), np.float32(a["high"])),
    "power": lambda o, a: o[0] ** np.float32(a["exponent"]),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "response_norm": _response_norm,
    "resize": _resize,
    "adaptive_avg_pool": lambda o, a: adaptive_pool(o[0], a["size"], np.mean),
    "adaptive_max_pool": lambda o, a: adaptive_pool(o[0], a["size"], np.max),
    "avg_pool3d": avg_pool3d,
    "max_pool_index": max_pool_index,
    "max_unpool": _max_unpool,
    "rearrange": lambda o, a: rearranged(o[0], a["steps"]),
    "join": lambda o, a: np.concatenate(o, axis=a["axis"]),
    "sub": lambda o, a: o[0] - o[1],
    "div": lambda o, a: o[0] / o[1],
    "maximum": lambda o, a: np.maximum(o[0], o[1]),
    "minimum": lambda o, a: np.minimum(o[0], o[1]),
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

assert OPERATIONS.keys() >= UNARY | ARITHMETIC, "an operation without a meaning"
