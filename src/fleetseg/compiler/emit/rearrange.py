"""Kernels that only move: rearrangements, padding with zeros, maps joined along rows or columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleetseg.compiler.emit.planes import add_kernel, channel, pointer, row, source_pointer, table, target_pointer
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.ir import Array, Node
from fleetseg.compiler.memory import View
from fleetseg.compiler.views import sources

#: The longest pattern along a row that is written out instead of looked up.
UNROLLED = 8


def emit_rearrange(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a rearrangement. Where an element comes from is a sum of a part for its channel, one for its
    row and one for its column, or stands in a table for each of them.
    """
    _, channels, height, width = node.type.shape
    places = _addresses(unit, node)
    by_channel, by_row, by_column = places[:, 0, 0], places[0, :, 0] - places[0, 0, 0], places[0, 0] - places[0, 0, 0]
    body = [f"const float *in = {pointer(unit, node.inputs[0])};", target_pointer(unit, node)]
    target = f"float *o = out + {row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')};"
    # Threads share rows or, where those are few, channels.
    outer, inner = ("y", "c") if height >= channels else ("c", "y")
    count = {"y": height, "c": channels}
    loops = [
        f"for (int {outer} = first; {outer} < last; ++{outer})",
        f"    for (int {inner} = 0; {inner} < {count[inner]}; ++{inner}) {{",
    ]
    if (places == by_channel[:, None, None] + by_row[None, :, None] + by_column).all():
        starts = [_number("channels", "c", by_channel), _number("rows", "y", by_row)]
        body += [line for line, _ in starts if line]
        moves = [f"const float *p = in + {starts[0][1]} + {starts[1][1]};", *_columns(by_column)]
        body += [line for line in moves if line.startswith("static")]
        moves = [line for line in moves if not line.startswith("static")]
    else:
        body.append(table("int", "places", [int(place) for place in places.ravel()]))
        moves = [f"const int *p = places + (c * {height} + y) * {width};"]
        moves += [f"for (int x = 0; x < {width}; ++x)", "    o[x] = in[p[x]];"]
    body += [*loops, *(indented(line, 2) for line in [target, *moves]), "    }"]
    add_kernel(unit, node, name, count[outer], body)


def _addresses(unit: Unit, node: Node) -> Array:
    """(C, H, W): where each element of the result lies in its source's buffer."""
    view, shape = unit.view(node.inputs[0]), unit.graph.type_of(node.inputs[0]).shape
    numbers = sources(shape, node["steps"]).reshape(node.type.shape[1:])
    plane, rest = np.divmod(numbers, shape[2] * shape[3])
    y, x = np.divmod(rest, shape[3])
    return np.asarray(view.start() + plane * view.buffer.segment + y * view.buffer.row + x)


def _number(name: str, variable: str, values: Array) -> tuple[str, str]:
    """(C of a table, or "", and the C of the value for `variable`)."""
    step = int(values[1] - values[0]) if values.size > 1 else 0
    if (values == values[0] + step * np.arange(values.size)).all():
        return "", f"{int(values[0])} + {variable} * (ptrdiff_t)({step})"
    return table("int", name, [int(value) for value in values]), f"{name}[{variable}]"


@dataclass(frozen=True)
class _Pattern:
    """Column i + j · period reads what `first[i]` says, `step` · j further on."""

    first: Array
    step: int


def _pattern(values: Array) -> _Pattern:
    """The shortest pattern of the columns."""
    for period in range(1, values.size):
        step = int(values[period] - values[0])
        index = np.arange(values.size)
        if (values == values[index % period] + step * (index // period)).all():
            return _Pattern(values[:period], step)
    return _Pattern(values, 0)


def _columns(values: Array) -> list[str]:
    """C: a row of the result at `o` from `p`."""
    pattern, width = _pattern(values), values.size
    period = pattern.first.size
    if period == 1 and pattern.step == 1:
        return [f"memcpy(o, p, {width} * sizeof(float));"]
    if period <= UNROLLED:
        lines: list[str] = []
        for i, first in enumerate(pattern.first):
            count = -(-(width - i) // period)
            lines.append(f"for (int x = 0; x < {count}; ++x)")
            lines.append(f"    o[x * {period} + {i}] = p[x * (ptrdiff_t)({pattern.step}) + ({int(first)})];")
        return lines
    steps = np.diff(pattern.first)
    if (steps == steps[0]).all():
        inside, tables = f"i * (ptrdiff_t)({int(steps[0])})", []
    else:
        inside, tables = "columns[i]", [table("int", "columns", [int(value) for value in pattern.first])]
    return [
        *tables,
        f"for (int x = 0, j = 0; x < {width}; x += {period}, ++j)",
        f"    for (int i = 0; i < {period} && x + i < {width}; ++i)",
        f"        o[x + i] = p[j * (ptrdiff_t)({pattern.step}) + {inside}];",
    ]


def emit_pad(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a pad: the map with zeros around it."""
    _, channels, height, width = node.type.shape
    _, own_channels, own_height, own_width = unit.graph.type_of(node.inputs[0]).shape
    _, (before, _), (top, _), (left, _) = node["amounts"]
    at = f"in + {row(unit, node.inputs[0], f'(y - {top})')} + {channel(unit, node.inputs[0], f'(c - {before})')}"
    body = [
        source_pointer(unit, node),
        target_pointer(unit, node),
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        f"        float *o = out + {row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')};",
        f"        memset(o, 0, {width} * sizeof(float));",
        f"        if (y >= {top} && y < {top + own_height} && c >= {before} && c < {before + own_channels})",
        f"            memcpy(o + {left}, {at}, {own_width} * sizeof(float));",
        "    }",
    ]
    add_kernel(unit, node, name, height, body)


def emit_join(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a join: maps one below the other (axis 2) or side by side (axis 3)."""
    height = node.type.shape[2]
    body = [target_pointer(unit, node), "for (int y = first; y < last; ++y) {"]
    start = 0
    for part in node.inputs:
        _, _, rows, columns = unit.graph.type_of(part).shape
        along_rows = node["axis"] == 2
        y, column = (f"(y - {start})", 0) if along_rows else ("y", start)
        guard = f"if (y >= {start} && y < {start + rows}) " if along_rows else ""
        body.append(f"    {guard}{{")
        body += [indented(line, 2) for line in _copied(unit, node, part, y, column)]
        body.append("    }")
        start += rows if along_rows else columns
    body.append("}")
    add_kernel(unit, node, name, height, body)


def _copied(unit: Unit, node: Node, part: str, y: str, column: int) -> list[str]:
    """C: row `y` of a part goes to a column of the result's."""
    view: View = unit.view(part)
    _, channels, _, columns = unit.graph.type_of(part).shape
    return [
        f"const float *p = {pointer(unit, part)} + {view.start()} + {row(unit, part, y)};",
        f"float *o = out + {row(unit, node.name, 'y')} + {column};",
        f"for (int c = 0; c < {channels}; ++c)",
        f"    memcpy(o + {channel(unit, node.name, 'c')}, p + {channel(unit, part, 'c')}, {columns} * sizeof(float));",
    ]
