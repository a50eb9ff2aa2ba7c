"""Kernels that make every channel of the result for itself, row by row, with the epilogue of their node.

Also what such kernels share: where values lie, and loops over a row's vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from fleetseg.compiler.emit.epilogue import Epilogue, boundaries, epilogue_for
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Condition, Kernel, Unit, indented
from fleetseg.compiler.ir import Node
from fleetseg.compiler.schedule import pixel_blocks, vector_lanes

#: (lanes, pixel offset) → C that declares the vector `v` of the pixels from x + offset, in row `y` of channel `c`.
Vector = Callable[[int, int], list[str]]

#: Vectors that a channel's code handles together, so that their latencies overlap.
VECTORS = 4

_C_TYPES = {"f32": "float", "i32": "int32_t", "u8": "uint8_t"}


def emit_planes(unit: Unit, node: Node, name: str, head: list[str], vector: Vector, macs: int = 0) -> None:
    """Add a kernel; `head` is C at the start of every channel of a row, where `in` is the first operand's row 0."""
    _, channels, height, width = node.type.shape
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    body = [source_pointer(unit, node), target_pointer(unit, node), "for (int y = first; y < last; ++y) {"]
    for low, high in pairwise(boundaries(node.epilogue, channels)):
        epilogue = epilogue_for(unit, node.epilogue, low, high, node.place)
        lines = [f"float *o = out + {row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')};", *head]
        lines += _parameters(unit, epilogue, low, high)
        lines += over_vectors(width, lanes, VECTORS, lambda x, e=epilogue: _stored(e, lanes, x, vector))  # type: ignore[misc]
        body += [f"    for (int c = {low}; c < {high}; ++c) {{", *(indented(line, 2) for line in lines), "    }"]
    body.append("}")
    add_kernel(unit, node, name, height, body, macs)


def _parameters(unit: Unit, epilogue: Epilogue, low: int, high: int) -> list[str]:
    """C: pointers to what the epilogue reads for channel `c` of row `y`."""
    values = np.asarray([epilogue.parameters(channel) for channel in range(low, high)], np.float32)
    lines = []
    if values.size:
        start = unit.add_weights(values)
        lines.append(f"const float *w = {weights(start)} + (c - {low}) * {epilogue.parameter_count};")
    for operand in epilogue.operands:
        at = row(unit, operand.value, "(y >> 1)" if operand.pooled else "y")
        first = channel(unit, operand.value, f"(c - {operand.first_channel})")
        base = f"{unit.pointer(operand.value)} + {unit.view(operand.value).start()}"
        lines.append(f"const {operand.element} *{operand.argument}_row = {base} + {at} + {first};")
    return lines


def _stored(epilogue: Epilogue, lanes: int, offset: int, vector: Vector) -> list[str]:
    pointers = [
        f"const {o.element} *{o.argument} = {o.argument}_row + {'(x >> 1)' if o.pooled else 'x'};"
        for o in epilogue.operands
    ]
    steps = epilogue.code(lanes, "v", 0, offset, "w")
    return [*pointers, *vector(lanes, offset), *steps, f"store{lanes}(o + x + {offset}, v);"]


def over_vectors(width: int, lanes: int, vectors: int, code: Callable[[int], list[str]]) -> list[str]:
    """C: the code of every pixel offset, in a loop over `x`."""
    lines: list[str] = []
    for block in pixel_blocks(width, lanes, vectors):
        step = block.step or width
        lines.append(f"for (int i = 0, x = {block.start}; i < {block.count}; ++i, x += {step}) {{")
        for offset in block.offsets:
            lines += [indented(line) for line in ["{", *(indented(line) for line in code(offset)), "}"]]
        lines.append("}")
    return lines


def source_pointer(unit: Unit, node: Node, operand: int = 0, variable: str = "in") -> str:
    """C: declare a pointer to row 0, channel 0 of an operand."""
    name = node.inputs[operand]
    return f"const {c_type(unit, name)} *{variable} = {pointer(unit, name)} + {unit.view(name).start()};"


def target_pointer(unit: Unit, node: Node) -> str:
    """C: declare `out`, row 0, channel 0 of the result."""
    return f"{c_type(unit, node.name)} *out = {pointer(unit, node.name)} + {unit.view(node.name).start()};"


def c_type(unit: Unit, name: str) -> str:
    """The C type of a value's elements."""
    return _C_TYPES[unit.graph.type_of(name).element]


def pointer(unit: Unit, name: str) -> str:
    """C: the start of the value's buffer."""
    buffer = unit.view(name).buffer
    return "job->logits" if buffer.external else f"({c_type(unit, name)} *)(void *)(job->arena + {buffer.offset})"


def row(unit: Unit, name: str, number: str) -> str:
    """C: elements from row 0 to a row."""
    return unit.view(name).buffer.row_offset(number)


def channel(unit: Unit, name: str, number: str) -> str:
    """C: elements from channel 0 to a channel."""
    return f"{number} * (ptrdiff_t){unit.view(name).buffer.segment}"


def weights(start: int) -> str:
    """C: the weights from `start`, which stand in the file as numbers of 32 bits."""
    return f"(const float *)(const void *)(job->weights + {start})"


def table(kind: str, name: str, values: list[int]) -> str:
    """C: a constant array."""
    return f"static const {kind} {name}[{len(values)}] = {{{', '.join(map(str, values))}}};"


def add_kernel(unit: Unit, node: Node, name: str, rows: int, body: list[str], macs: int = 0) -> None:
    """Add a kernel whose body works on [first, last) of `rows`."""
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    # What makes the logits alone runs only for those who want them.
    alone = node.name == unit.graph.outputs[0] and not unit.graph.users(node.name)
    when: Condition = "logits" if alone else "always"
    unit.add_kernel(Kernel(function, rows, name, node.place, when, macs))
