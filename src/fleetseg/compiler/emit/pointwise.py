"""Arithmetic of two maps of which one may be a row, a column, a pixel or a constant for the other."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.emit.planes import (
    add_kernel,
    over_vectors,
    pointer,
    row,
    target_pointer,
    weights,
)
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.ir import Node
from fleetseg.compiler.schedule import vector_lanes

#: C for vectors a and b of n lanes.
_CODE = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a / b",
    "maximum": "max{n}(a, b)",
    "minimum": "min{n}(a, b)",
}


def emit_arithmetic(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of an operation of two values whose sizes are equal or one."""
    _, channels, height, width = node.type.shape
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    values = []
    pointers = []
    for letter, value in zip("ab", node.inputs, strict=True):
        start, one_column = _start(unit, value)
        pointers.append(f"const float *p{letter} = {start};")
        values.append(f"splat{lanes}(*p{letter})" if one_column else f"load{lanes}(p{letter} + x + OFFSET)")
    code = _CODE[node.op].format(n=lanes)

    def vector(offset: int) -> list[str]:
        loads = [
            f"const f{lanes} {letter} = {value.replace('OFFSET', str(offset))};"
            for letter, value in zip("ab", values, strict=True)
        ]
        return [*loads, f"store{lanes}(o + x + {offset}, {code});"]

    body = [
        target_pointer(unit, node),
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        *(indented(line, 2) for line in pointers),
        f"        float *o = out + {row(unit, node.name, 'y')} + c * (ptrdiff_t){unit.view(node.name).buffer.segment};",
        *(indented(line, 2) for line in over_vectors(width, lanes, 4, vector)),
        "    }",
    ]
    add_kernel(unit, node, name, height, body)


def _start(unit: Unit, name: str) -> tuple[str, bool]:
    """C: the value's row `y` of channel `c`, where sizes of one stand still; and whether it has one column."""
    _, channels, height, width = unit.graph.type_of(name).shape
    if name in unit.graph.constants:
        array = np.asarray(unit.graph.constants[name], np.float32)
        base, lead, steps = weights(unit.add_weights(array)), 0, (width, height * width)
    else:
        view = unit.view(name)
        base, lead, steps = pointer(unit, name), view.start(), (view.buffer.row, view.buffer.segment)
    parts = [base, str(lead)]
    if height > 1:
        parts.append(f"y * (ptrdiff_t){steps[0]}")
    if channels > 1:
        parts.append(f"c * (ptrdiff_t){steps[1]}")
    return " + ".join(parts), width == 1
