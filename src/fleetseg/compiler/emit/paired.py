"""Kernels over single channels whose source or result is in bf16: pooling, places of maxima, copies, casts.

A turn of the inner loop makes the two channels of a pair, each in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from fleetseg.compiler.emit.epilogue import Epilogue, boundaries, epilogue_for
from fleetseg.compiler.emit.functions import c_float
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Kernel, Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.ir import Node
from fleetseg.compiler.memory import View
from fleetseg.compiler.schedule import pixel_blocks, vector_lanes

#: (lanes, half) → C that declares `v<half>`; `p` stands at the pair in row 0, `y` and `x` are the result's.
Loader = Callable[[int, int], list[str]]


def is_paired(unit: Unit, node: Node) -> bool:
    """Whether a node's first input or its result is in bf16."""
    return any(unit.graph.type_of(name).element == "bf16" for name in (node.inputs[0], node.name))


def emit_paired_copy(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a `copy`, from and to either element."""
    source = unit.view(node.inputs[0])

    def load(n: int, half: int) -> list[str]:
        pointer = f"p + {source.buffer.row_offset('y')} + x"
        return [f"f{n} v{half} = {_half(source, n, half, pointer, 1)};"]

    _emit(unit, node, name, load)


def emit_paired_pool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a max_pool without padding, or of an avg_pool that counts its padding."""
    source = unit.view(node.inputs[0])
    (rows, columns), (stride_y, stride_x) = node["kernel_size"], node["stride"]
    top, left = node["padding"][:2]
    largest = node.op == "max_pool"

    def load(n: int, half: int) -> list[str]:
        values = [_half(source, n, half, f"q + {kx - left}", stride_x) for kx in range(columns)]
        v = f"v{half}"
        lines = [
            f"f{n} {v} = splat{n}({'-INFINITY' if largest else '0.0f'});",
            f"for (int k = 0, r = y * {stride_y} - {top}; k < {rows}; ++k, ++r) {{",
            f"    if (r < 0 || r >= {source.buffer.height})",
            "        continue;",
            f"    const float *q = p + {source.buffer.row_offset('r')} + x * {stride_x};",
            *(f"    {v} = max{n}({v}, {value});" if largest else f"    {v} += {value};" for value in values),
            "}",
        ]
        return lines if largest else [*lines, f"{v} = {v} * {c_float(float(np.float32(1.0 / (rows * columns))))};"]

    _emit(unit, node, name, load)


def emit_paired_pool_place(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel that finds which of 2×2 pixels is the first largest: 2·row + column."""
    source, target = unit.view(node.inputs[0]), unit.view(node.name)
    row, segment = target.buffer.row_offset("y"), target.buffer.segment

    def code(n: int, halves: Sequence[int], channel: str) -> list[str]:
        lines = []
        for half in halves:
            for index in range(4):
                pixel = f"p + {source.buffer.row_offset(f'2 * y + {index // 2}')} + 2 * x + {index % 2}"
                value = _half(source, n, half, pixel, 2)
                first = f"f{n} best{half} = {value}; i{n} id{half} = {{0}};"
                lines.append(f"better{n}(&best{half}, &id{half}, {value}, {index});" if index else first)
            address = f"out + {row} + {target.start()} + ({channel} + {half}) * {segment} + x"
            lines.append(f"store_bytes{n}({address}, __builtin_convertvector(id{half}, b{n}));")
        return lines

    body = [f"uint8_t *out = {unit.pointer(node.name)};"]
    for first, last in _runs(source.places, [0, len(source.places)]):
        body += _loop(unit, node, source, first, last, code)
    _add(unit, node, name, body)


def _emit(unit: Unit, node: Node, name: str, load: Loader) -> None:
    """The kernel that loads pairs, runs the epilogue on both channels and stores them."""
    source, target = unit.view(node.inputs[0]), unit.view(node.name)
    limits = boundaries(node.epilogue, node.type.shape[1])
    body = [f"float *out = {unit.pointer(node.name)};"]
    for first, last in _runs(target.places or source.places, limits):
        epilogue = epilogue_for(unit, node.epilogue, first, last, node.place)
        start = _parameters(unit, epilogue, first, last)

        def code(n: int, halves: Sequence[int], channel: str) -> list[str]:
            lines = _operands(unit, epilogue, first, channel)  # noqa: B023 - called before the next turn
            count = epilogue.parameter_count  # noqa: B023
            if count:
                lines.append(f"const word *w = job->weights + {start} + ({channel} - {first}) * {count};")  # noqa: B023
            for half in halves:
                lines += load(n, half)
                lines += epilogue.code(n, f"v{half}", half, 0, f"(w + {half * count})")  # noqa: B023
            return [*lines, *_stores(target, n, halves, first, channel)]  # noqa: B023

        body += _loop(unit, node, source, first, last, code)
    _add(unit, node, name, body)


def _parameters(unit: Unit, epilogue: Epilogue, first: int, last: int) -> int:
    values = np.asarray([epilogue.parameters(channel) for channel in range(first, last)], np.float32)
    return unit.add_weights(values) if values.size else 0


def _operands(unit: Unit, epilogue: Epilogue, first: int, channel: str) -> list[str]:
    """C: pointers to the operands' vectors for the pair that starts at `channel`."""
    lines = []
    for operand in epilogue.operands:
        view = unit.view(operand.value)
        row, column = ("(y >> 1)", "(x >> 1)") if operand.pooled else ("y", "x")
        segments = _segments(view, channel, first)
        start = view.start(first - operand.first_channel)
        lines.append(
            f"const {operand.element} *{operand.argument} = {unit.pointer(operand.value)} + "
            f"{view.buffer.row_offset(row)} + {start} + {segments} * {view.buffer.segment} + {column};"
        )
    return lines


def _segments(view: View, channel: str, first: int) -> str:
    """C: how many segments lie between channels `first` and `channel`."""
    return f"(({channel} - {first}) / 2)" if view.paired else f"({channel} - {first})"


def _stores(target: View, n: int, halves: Sequence[int], first: int, channel: str) -> list[str]:
    buffer = target.buffer
    address = (
        f"out + {buffer.row_offset('y')} + {target.start(first)} + "
        f"{_segments(target, channel, first)} * {buffer.segment} + x"
    )
    if target.paired:
        return [f"store{n}({address}, pair{n}(v0, {'v1' if 1 in halves else f'splat{n}(0.0f)'}));"]
    return [f"store{n}({address} + {half * buffer.segment}, v{half});" for half in halves]


def _runs(places: Sequence[int], limits: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of channels between the limits that lie without a gap."""
    breaks = {c for c in range(1, len(places)) if places[c] != places[c - 1] + 1}
    return list(pairwise(sorted({*limits, *breaks})))


def _loop(
    unit: Unit, node: Node, source: View, first: int, last: int, code: Callable[[int, Sequence[int], str], list[str]]
) -> list[str]:
    """C: `code` for every pair of channels [first, last) and every vector of a row; a last odd channel is alone."""
    width = node.type.shape[3]
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    whole = last - (last - first) % 2
    lines = ["for (int y = first; y < last; ++y) {", f"    for (int c = {first}; c < {whole}; c += 2) {{"]
    lines += [indented(line, 2) for line in _row(unit, node, source, first, width, lanes, code(lanes, (0, 1), "c"))]
    lines.append("    }")
    if whole < last:
        lines += ["    {", f"        const int c = {whole};"]
        lines += [indented(line, 2) for line in _row(unit, node, source, first, width, lanes, code(lanes, (0,), "c"))]
        lines.append("    }")
    return [*lines, "}"]


def _row(unit: Unit, node: Node, source: View, first: int, width: int, lanes: int, code: list[str]) -> list[str]:
    pointer = unit.pointer(node.inputs[0])
    segments = _segments(source, "c", first)
    lines = [f"const float *p = {pointer} + {source.start(first)} + {segments} * {source.buffer.segment};"]
    for block in pixel_blocks(width, lanes, 1):
        lines.append(f"for (int i = 0, x = {block.start}; i < {block.count}; ++i, x += {block.step or width}) {{")
        lines += [*(indented(line) for line in code), "}"]
    return lines


def _half(source: View, n: int, half: int, pointer: str, stride: int) -> str:
    """C: one channel of the pair at `pointer`, as float32."""
    if not source.paired:
        return strided_load(n, f"{pointer} + {half * source.buffer.segment}", stride)
    return f"{('low', 'high')[half]}_half{n}({strided_load(n, pointer, stride)})"


def _add(unit: Unit, node: Node, name: str, body: list[str]) -> None:
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, node.type.shape[2], name, node.place))
