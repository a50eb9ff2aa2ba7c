"""Un-pooling that no sum takes up: by places in 2×2 windows, and by indices anywhere."""

from __future__ import annotations

from fleetseg.compiler.emit.planes import add_kernel, channel, row, source_pointer, target_pointer
from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.ir import Node


def emit_unpool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of an unpool: every value goes to its place in a 2×2 window, zeros beside it."""
    _, channels, height, width = unit.graph.type_of(node.inputs[0]).shape
    body = [
        source_pointer(unit, node),
        source_pointer(unit, node, 1, "places"),
        target_pointer(unit, node),
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        f"        const float *p = in + {row(unit, node.inputs[0], 'y')} + {channel(unit, node.inputs[0], 'c')};",
        f"        const uint8_t *q = places + {row(unit, node.inputs[1], 'y')} + {channel(unit, node.inputs[1], 'c')};",
        f"        float *o = out + {row(unit, node.name, '(2 * y)')} + {channel(unit, node.name, 'c')};",
        f"        float *o2 = out + {row(unit, node.name, '(2 * y + 1)')} + {channel(unit, node.name, 'c')};",
        f"        for (int x = 0; x < {width}; ++x) {{",
        "            o[2 * x] = q[x] == 0 ? p[x] : 0.0f;",
        "            o[2 * x + 1] = q[x] == 1 ? p[x] : 0.0f;",
        "            o2[2 * x] = q[x] == 2 ? p[x] : 0.0f;",
        "            o2[2 * x + 1] = q[x] == 3 ? p[x] : 0.0f;",
        "        }",
        "    }",
    ]
    add_kernel(unit, node, name, height, body)


def emit_max_unpool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a max_unpool; threads share the channels, since a value may land in any row."""
    _, channels, height, width = node.type.shape
    _, _, rows, columns = unit.graph.type_of(node.inputs[0]).shape
    body = [
        source_pointer(unit, node),
        source_pointer(unit, node, 1, "indices"),
        target_pointer(unit, node),
        "for (int c = first; c < last; ++c) {",
        f"    float *o = out + {channel(unit, node.name, 'c')};",
        f"    for (int y = 0; y < {height}; ++y)",
        f"        memset(o + {row(unit, node.name, 'y')}, 0, {width} * sizeof(float));",
        f"    for (int y = 0; y < {rows}; ++y) {{",
        f"        const float *p = in + {row(unit, node.inputs[0], 'y')} + {channel(unit, node.inputs[0], 'c')};",
        f"        const int32_t *q = indices + {row(unit, node.inputs[1], 'y')}"
        f" + {channel(unit, node.inputs[1], 'c')};",
        f"        for (int x = 0; x < {columns}; ++x)",
        f"            o[{row(unit, node.name, f'(q[x] / {width})')} + q[x] % {width}] = p[x];",
        "    }",
        "}",
    ]
    add_kernel(unit, node, name, channels, body)
