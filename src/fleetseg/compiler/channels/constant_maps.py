"""Channels that have one value at every pixel of every image, found by computing with what is known.

A BatchNorm whose scale is nothing gives its shift; sums, activations and convolutions of such channels are such
channels again, where no zero of the padding is among what they read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.interpret import OPERATIONS
from fleetseg.compiler.ir import Graph, Node, TensorType
from fleetseg.compiler.types import ARITHMETIC, UNARY

#: One number a channel; NaN where it varies.
Values = npt.NDArray[np.float32]

#: A scale (over the running deviation) below which a BatchNorm's input cannot be seen in float32.
NOTHING = 1e-9


def constant_channels(graph: Graph) -> Mapping[str, Values]:
    """Value of the graph → what its channels are everywhere."""
    found: dict[str, Values] = {name: _varies(kind) for name, kind in graph.inputs.items()}
    for node in graph.nodes:
        found[node.name] = _of(graph, node, found)
    return found


def _varies(kind: TensorType) -> Values:
    return np.full(kind.shape[1] if len(kind.shape) > 1 else 1, np.nan, np.float32)


def _of(graph: Graph, node: Node, found: Mapping[str, Values]) -> Values:
    maps = [found[name] for name in node.inputs if name in found]
    unknown = _varies(node.type)
    if (
        not maps
        or len(node.type.shape) != 4
        or any(len(graph.type_of(n).shape) != 4 for n in node.inputs if n in found)
    ):
        return unknown
    if node.op in ("conv2d", "conv_transpose2d"):
        return _conv(graph, node, maps[0])
    if node.op == "batch_norm":
        return _batch_norm(graph, node, maps[0])
    if node.op in UNARY or (node.op in ARITHMETIC and len(maps) == len(node.inputs)):
        return _pointwise(graph, node, maps)
    if node.op in ("max_pool", "resize", "copy"):
        return maps[0]
    if node.op == "avg_pool":
        return np.where(maps[0] == 0, maps[0], unknown)
    if node.op == "unpool" or node.op == "max_unpool":
        return np.where(maps[0] == 0, maps[0], unknown)
    if node.op == "concat" and node["axis"] == 1 and len(maps) == len(node.inputs):
        return np.concatenate(maps)
    if node.op == "slice":
        return maps[0][node["start"] : node["stop"] : node["step"]] if node["axis"] == 1 else maps[0]
    if node.op == "pad":
        return _pad(node, maps[0])
    return unknown


def _conv(graph: Graph, node: Node, values: Values) -> Values:
    weight = graph.constants.get(node.inputs[1])
    unknown = _varies(node.type)
    if weight is None:
        return unknown
    if node["groups"] > 1:
        # Of a depthwise one at least what nothing goes into is known.
        depthwise = node["groups"] == len(values) == len(unknown)
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(unknown), np.float32)
        return np.where(values == 0, bias, unknown) if depthwise else unknown
    if node.op == "conv_transpose2d":
        # Between its inputs there are places that read none of them, unless all are zero.
        seen, sums = np.abs(weight).max(axis=(2, 3)), np.zeros(weight.shape[1], np.float64)
        varies = (seen.T * (values != 0)).any(axis=1)
    else:
        seen = np.abs(weight).max(axis=(2, 3))
        read = values != 0 if any(node["padding"]) else np.isnan(values)
        varies = (seen * read).any(axis=1)
        sums = weight.sum(axis=(2, 3), dtype=np.float64) @ np.nan_to_num(values, nan=0)
    if len(node.inputs) > 2:
        sums = sums + graph.constants[node.inputs[2]]
    return np.where(varies, unknown, sums.astype(np.float32))


def _batch_norm(graph: Graph, node: Node, values: Values) -> Values:
    scale, shift, mean, variance = (graph.constants[name] for name in node.inputs[1:])
    factor = scale / np.sqrt(variance + node["eps"])
    known = np.where(np.abs(factor) < NOTHING, mean, values)
    result: Values = ((known - mean) * factor + shift).astype(np.float32)
    return result


def _pointwise(graph: Graph, node: Node, maps: list[Values]) -> Values:
    """The operation itself on maps of one pixel."""
    if len({len(values) for values in maps}) > 1:
        return _varies(node.type)
    pixels = iter(np.nan_to_num(values, nan=0).reshape(1, -1, 1, 1) for values in maps)
    operands = [graph.constants[name] if name in graph.constants else next(pixels) for name in node.inputs]
    with np.errstate(all="ignore"):
        result = np.asarray(OPERATIONS[node.op](operands, node.attributes), np.float32).ravel()
    return np.where(np.isnan(np.stack(maps)).any(axis=0), np.float32(np.nan), result)


def _pad(node: Node, values: Values) -> Values:
    amounts = node["amounts"]
    zeros = [np.zeros(count, np.float32) for count in amounts[1]]
    inside = np.where(values == 0, values, np.float32(np.nan)) if any(map(any, amounts[2:])) else values
    return np.concatenate([zeros[0], inside, zeros[1]])
