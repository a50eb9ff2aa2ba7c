"""Kernels that treat every channel alike and alone: pooling, places of maxima, copies with an epilogue."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from fleetseg.compiler.emit.epilogue import boundaries, epilogue_for
from fleetseg.compiler.emit.functions import c_float
from fleetseg.compiler.emit.planes import VECTORS, over_vectors
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Kernel, Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.ir import Node
from fleetseg.compiler.memory import Buffer
from fleetseg.compiler.schedule import vector_lanes
from fleetseg.errors import CompileError

#: (lanes, pixel offset) → C that declares `v`; `p` stands at channel c of row 0, `y` is the result's row.
Loader = Callable[[int, int], list[str]]


def emit_copy(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a `copy` with an epilogue."""
    source = unit.view(node.inputs[0]).buffer

    def load(lanes: int, offset: int) -> list[str]:
        return [f"f{lanes} v = load{lanes}(p + {source.row_offset('y')} + x + {offset});"]

    _emit(unit, node, name, load)


def emit_pool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a max_pool or avg_pool; `CompileError` for borders that zeros cannot stand for."""
    padded = any(node["padding"])
    if padded and (node.op == "max_pool" or not node["count_padding"]):
        raise CompileError(f"'{node.op}' with padding at {node.place} has no C yet")
    source = unit.view(node.inputs[0]).buffer

    def load(lanes: int, offset: int) -> list[str]:
        return _window(node, source, lanes, offset)

    _emit(unit, node, name, load)


def _window(node: Node, source: Buffer, n: int, offset: int) -> list[str]:
    (rows, columns), (stride_y, stride_x) = node["kernel_size"], node["stride"]
    top, left = node["padding"][:2]
    largest = node.op == "max_pool"
    start = "-INFINITY" if largest else "0.0f"
    lines = [
        f"f{n} v = splat{n}({start});",
        f"for (int k = 0, r = y * {stride_y} - {top}; k < {rows}; ++k, ++r) {{",
        f"    if (r < 0 || r >= {source.height})",
        "        continue;",
        f"    const float *q = p + {source.row_offset('r')} + x * {stride_x};",
    ]
    for kx in range(columns):
        value = strided_load(n, f"q + {offset * stride_x + kx - left}", stride_x)
        lines.append(f"    v = max{n}(v, {value});" if largest else f"    v += {value};")
    lines.append("}")
    if not largest:
        lines.append(f"v = v * {c_float(float(np.float32(1.0 / (rows * columns))))};")
    return lines


def emit_pool_place(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel that finds which of 2×2 pixels is the first largest: 2·row + column."""
    source, target = unit.view(node.inputs[0]), unit.view(node.name)
    _, channels, height, width = node.type.shape
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    lines = []
    for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        pointer = f"p + {source.buffer.row_offset(f'2 * y + {row}')} + 2 * x + {column}"
        value = strided_load(lanes, pointer, 2)
        if index == 0:
            lines += [f"f{lanes} best = {value};", f"i{lanes} id = {{0}};"]
        else:
            lines.append(f"better{lanes}(&best, &id, {value}, {index});")
    lines.append(f"store_bytes{lanes}(o + x, __builtin_convertvector(id, b{lanes}));")
    body = [
        f"const float *in = {unit.pointer(node.inputs[0])} + {source.start()};",
        f"uint8_t *out = {unit.pointer(node.name)} + {target.start()};",
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        f"        const float *p = in + c * {source.buffer.segment};",
        f"        uint8_t *o = out + {target.buffer.row_offset('y')} + c * {target.buffer.segment};",
        *(indented(line, 2) for line in over_vectors(width, lanes, 1, lambda _: lines)),
        "    }",
    ]
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, height, name, node.place))


def _emit(unit: Unit, node: Node, name: str, load: Loader) -> None:
    source, target = unit.view(node.inputs[0]), unit.view(node.name)
    _, channels, height, width = node.type.shape
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    body = [f"const float *in = {unit.pointer(node.inputs[0])};", f"float *out = {unit.pointer(node.name)};"]
    body.append("for (int y = first; y < last; ++y) {")
    limits = boundaries(node.epilogue, channels)
    for low, high in pairwise(limits):
        epilogue = epilogue_for(unit, node.epilogue, low, high, node.place)
        values = np.asarray([epilogue.parameters(channel) for channel in range(low, high)], np.float32)
        start = unit.add_weights(values) if values.size else 0
        lines = [
            f"const float *p = in + {source.start()} + c * {source.buffer.segment};",
            f"float *o = out + {target.buffer.row_offset('y')} + {target.start()} + c * {target.buffer.segment};",
        ]
        if values.size:
            lines.append(f"const word *w = job->weights + {start} + (c - {low}) * {epilogue.parameter_count};")
        for operand in epilogue.operands:
            view = unit.view(operand.value)
            row = "(y >> 1)" if operand.pooled else "y"
            lines.append(
                f"const {operand.element} *{operand.argument}_row = {unit.pointer(operand.value)} + "
                f"{view.buffer.row_offset(row)} + {view.start()} + "
                f"(c - {operand.first_channel}) * {view.buffer.segment};"
            )

        def vector(offset: int) -> list[str]:
            pointers = [
                f"const {o.element} *{o.argument} = {o.argument}_row + {'(x >> 1)' if o.pooled else 'x'};"
                for o in epilogue.operands  # noqa: B023 - called before the next turn
            ]
            steps = epilogue.code(lanes, "v", 0, offset, "w")  # noqa: B023
            return [*pointers, *load(lanes, offset), *steps, f"store{lanes}(o + x + {offset}, v);"]

        lines += over_vectors(width, lanes, VECTORS, vector)
        body += [
            f"    for (int c = {low}; c < {high}; ++c) {{",
            *(indented(line, 2) for line in lines),
            "    }",
        ]
    body.append("}")
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, height, name, node.place))
