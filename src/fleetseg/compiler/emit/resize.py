"""Bilinear resizing: two source rows become one, of which every pixel reads two columns."""

from __future__ import annotations

from fleetseg.compiler.emit.planes import (
    add_kernel,
    channel,
    over_vectors,
    row,
    source_pointer,
    table,
    target_pointer,
    weights,
)
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.ir import Array, Node
from fleetseg.compiler.sampling import linear_positions
from fleetseg.compiler.schedule import vector_lanes


def emit_resize(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a resize."""
    _, channels, height, width = node.type.shape
    size = unit.graph.type_of(node.inputs[0]).shape[2:]
    lanes = vector_lanes(size[1], unit.target)
    unit.lanes.add(lanes)
    rows, down = _positions(node, size, 0)
    columns, right = _positions(node, size, 1)
    behind = [min(first + 1, size[0] - 1) for first in rows]
    mix = over_vectors(
        size[1],
        lanes,
        4,
        lambda offset: [
            f"store{lanes}(line + x + {offset}, load{lanes}(a + x + {offset}) * (1.0f - s)"
            f" + load{lanes}(b + x + {offset}) * s);"
        ],
    )
    source = node.inputs[0]
    body = [
        source_pointer(unit, node),
        target_pointer(unit, node),
        table("int", "upper", rows),
        table("int", "lower", behind),
        table("int", "column", columns),
        f"const float *down = {weights(unit.add_weights(down))}, *right = {weights(unit.add_weights(right))};",
        # One more than there is: the pixel behind the last one is the last one.
        f"float line[{size[1] + 1}];",
        "for (int y = first; y < last; ++y) {",
        "    const float s = down[y];",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        f"        const float *a = in + {row(unit, source, 'upper[y]')} + {channel(unit, source, 'c')};",
        f"        const float *b = in + {row(unit, source, 'lower[y]')} + {channel(unit, source, 'c')};",
        f"        float *o = out + {row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')};",
        *(indented(text, 2) for text in mix),
        f"        line[{size[1]}] = line[{size[1] - 1}];",
        f"        for (int x = 0; x < {width}; ++x)",
        "            o[x] = line[column[x]] * (1.0f - right[x]) + line[column[x] + 1] * right[x];",
        "    }",
        "}",
    ]
    add_kernel(unit, node, name, height, body)


def _positions(node: Node, size: tuple[int, ...], axis: int) -> tuple[list[int], Array]:
    scale = node["scales"][axis] if node["scales"] else None
    first, weight = linear_positions(size[axis], node["size"][axis], scale, node["corners"])
    return [int(number) for number in first], weight
