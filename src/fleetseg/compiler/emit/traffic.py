"""How many bytes a kernel has to move: every map and weight that it reads once, and the map that it writes.

What a kernel moves at least; halo rows that it reads again, and margins, are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod

from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.ir import Node
from fleetseg.compiler.memory import ELEMENT_BYTES

#: (bytes read, bytes written)
Traffic = tuple[int, int]


@contextmanager
def counted(unit: Unit, traffic: Traffic) -> Iterator[None]:
    """Give the kernels that are added inside the block their bytes."""
    first = len(unit.kernels)
    yield
    read, written = traffic
    unit.kernels[first:] = [replace(kernel, bytes_read=read, bytes_written=written) for kernel in unit.kernels[first:]]


def image_traffic(unit: Unit, size: tuple[int, int]) -> Traffic:
    """Of the kernel that normalises the image of `size` (width, height)."""
    name = next(iter(unit.graph.inputs))
    return prod(size) * unit.graph.type_of(name).shape[1], _bytes(unit, name)


def node_traffic(unit: Unit, node: Node) -> Traffic:
    """Of a node's kernels; those that end in an arg-max write one byte a pixel that leaves the library."""
    # A value that the node uses twice is in the cache the second time.
    read = sum(_bytes(unit, name) for name in dict.fromkeys(node.uses))
    classes = node.op == "argmax" or any(step.op == "argmax" for step in node.epilogue)
    return read, prod(unit.seen) if classes else _bytes(unit, node.name)


def logits_traffic(unit: Unit) -> Traffic:
    """Of the kernel that copies the logits out."""
    channels = unit.graph.type_of(unit.graph.outputs[0]).shape[1]
    size = 4 * channels * prod(unit.seen)
    return size, size


def _bytes(unit: Unit, name: str) -> int:
    element = unit.plan.views[name].buffer.element if name in unit.plan.views else unit.graph.type_of(name).element
    return prod(unit.graph.type_of(name).shape) * ELEMENT_BYTES.get(element, 4)
