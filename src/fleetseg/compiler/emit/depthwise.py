"""Depthwise convolutions: each channel's taps over vectors of pixels, weights as scalars."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.emit.planes import channel, emit_planes, row, weights
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.ir import Node

#: Kernels up to this many taps are written out, so that their weights stay in registers.
UNROLLED = 25


def is_depthwise(unit: Unit, node: Node) -> bool:
    """Whether every output channel reads one input channel, and no pixel shuffle stores the result."""
    if node.op != "conv2d" or node["groups"] == 1 or "shuffle" in node.attributes:
        return False
    return unit.graph.type_of(node.inputs[1]).shape[1] == 1


def emit_depthwise(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel. Windows that lie inside, all but a few, are written out; of others rows outside are skipped."""
    weight = unit.graph.constants[node.inputs[1]]
    count, _, rows, columns = weight.shape
    bias = unit.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(count, np.float32)
    start = unit.add_weights(np.concatenate([bias[:, None], weight.reshape(count, -1)], axis=1))
    source = f"c / {count // node['groups']}" if count != node["groups"] else "c"
    head = [f"const float *k = {weights(start)} + c * {rows * columns + 1};"]
    head.append(f"const float *p = in + {channel(unit, node.inputs[0], f'({source})')};")
    (stride_y, _), (dilation_y, _), top = node["stride"], node["dilation"], node["padding"][0]
    height = unit.graph.type_of(node.inputs[0]).shape[2]
    head.append(f"const int top = y * {stride_y} - {top};")
    unrolled = rows * columns <= UNROLLED
    if unrolled:
        head.append(f"const int inside = top >= 0 && top + {(rows - 1) * dilation_y} < {height};")
        for ky in range(rows):
            at = row(unit, node.inputs[0], f"(inside ? top + {ky * dilation_y} : 0)")
            head.append(f"const float *p{ky} = p + {at};")
            head += [f"const float k{ky}_{kx} = k[{1 + ky * columns + kx}];" for kx in range(columns)]

    def vector(lanes: int, offset: int) -> list[str]:
        lines = [f"for (int ky = 0; ky < {rows}; ++ky) {{", f"    const int r = top + ky * {dilation_y};"]
        lines += [f"    if (r < 0 || r >= {height})", "        continue;"]
        lines.append(f"    const float *q = p + {row(unit, node.inputs[0], 'r')}, *kr = k + 1 + ky * {columns};")
        lines += [f"    v += {_tap(node, lanes, offset, 'q', kx)} * kr[{kx}];" for kx in range(columns)]
        lines.append("}")
        start = f"f{lanes} v = splat{lanes}(k[0]);"
        if not unrolled:
            return [start, *lines]
        fast = [
            f"v += {_tap(node, lanes, offset, f'p{ky}', kx)} * k{ky}_{kx};"
            for ky in range(rows)
            for kx in range(columns)
        ]
        return [start, "if (inside) {", *map(indented, fast), "} else {", *map(indented, lines), "}"]

    macs = int(np.count_nonzero(weight.any(axis=0))) * count * node.type.shape[2] * node.type.shape[3]
    emit_planes(unit, node, name, head, vector, macs)


def _tap(node: Node, lanes: int, offset: int, pointer: str, kx: int) -> str:
    stride = node["stride"][1]
    shift = offset * stride + kx * node["dilation"][1] - node["padding"][1]
    return strided_load(lanes, f"{pointer} + x * {stride} + ({shift})", stride)
