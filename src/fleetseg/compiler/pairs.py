"""bf16 maps: two channels share a 32-bit element, so that dot products of pairs take them as they lie.

A channel's place is its number in memory. Every value starts at an even place. What was put together from parts with
odd numbers of channels has a gap behind each of them, a place that holds no channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.ir import Array, Graph, Node

Places = tuple[int, ...]

#: Operations whose results lie as their sources do.
CHANNEL_BY_CHANNEL = frozenset({"copy", "max_pool", "avg_pool"})


def round_to_bf16(values: Array) -> npt.NDArray[np.float32]:
    """The nearest bf16 numbers, ties to even, as float32."""
    bits = _rounded_bits(values)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def pack_pairs(low: Array, high: Array) -> npt.NDArray[np.float32]:
    """Two arrays as bf16 in the halves of 32-bit words. The words are typed float32, their values mean nothing."""
    lower, upper = _rounded_bits(low) >> np.uint32(16), _rounded_bits(high) & np.uint32(0xFFFF0000)
    return (lower | upper).view(np.float32)


def _rounded_bits(values: Array) -> npt.NDArray[np.uint32]:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))


def even(count: int) -> int:
    """The next even number."""
    return count + count % 2


def parts_of(graph: Graph, node: Node) -> tuple[int, ...]:
    """How many channels each part has that starts at an even place of its own."""
    if node.op == "pyramid":
        return tuple(graph.type_of(weight).shape[0] for weight in node.inputs[1:])
    return (node.type.shape[1],)


def places_of_pairs(graph: Graph) -> Mapping[str, Places]:
    """Value → the place of each of its channels, counted from its own first; bf16 values alone."""
    found: dict[str, Places] = {}
    for name, value in graph.inputs.items():
        if value.element == "bf16":
            found[name] = tuple(range(value.shape[1]))
    for node in graph.nodes:
        if node.type.element != "bf16":
            continue
        if node.op in CHANNEL_BY_CHANNEL and node.inputs[0] in found:
            found[node.name] = found[node.inputs[0]]
            continue
        if node.op == "concat":  # of what is still in float32, the cast to come lies without gaps
            parts = [found.get(name) or tuple(range(graph.type_of(name).shape[1])) for name in node.inputs]
        else:
            parts = _dense(parts_of(graph, node))
        places: list[int] = []
        start = 0
        for part in parts:
            places += [start + place for place in part]
            start += extent(part)
        found[node.name] = tuple(places)
    return found


def extent(places: Places) -> int:
    """How many places a value takes, gaps included."""
    return even(places[-1] + 1)


def _dense(sizes: tuple[int, ...]) -> list[Places]:
    return [tuple(range(size)) for size in sizes]
