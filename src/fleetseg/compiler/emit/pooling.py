"""Pooling with borders: windows that reach into padding, indices of maxima, and parts of the whole map."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.emit.functions import c_float
from fleetseg.compiler.emit.planes import (
    add_kernel,
    channel,
    emit_planes,
    over_vectors,
    row,
    source_pointer,
    table,
    target_pointer,
    weights,
)
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.interpret_windows import bins, window_counts
from fleetseg.compiler.ir import Array, Node
from fleetseg.compiler.schedule import vector_lanes


def emit_window_pool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a max_pool or avg_pool with any padding, stride and dilation."""
    head = [f"const float *p = in + {channel(unit, node.inputs[0], 'c')};"]
    if node.op == "max_pool":
        emit_planes(unit, node, name, head, lambda lanes, offset: _maximum(unit, node, lanes, offset))
        return
    rows, columns = _shares(node, unit.graph.type_of(node.inputs[0]).shape[2:])
    head.append(f"const float *across = {weights(unit.add_weights(columns))};")
    head.append(f"const float share = ({weights(unit.add_weights(rows))})[y];")
    emit_planes(unit, node, name, head, lambda lanes, offset: _mean(unit, node, lanes, offset))


def _shares(node: Node, size: tuple[int, ...]) -> tuple[Array, Array]:
    """One over the number of rows, and of columns, that each window averages."""
    if node["count_padding"]:
        (rows, columns), (height, width) = node["kernel_size"], node.type.shape[2:]
        return np.full(height, 1 / rows, np.float32), np.full(width, 1 / columns, np.float32)
    counts = window_counts(size, node.attributes)
    return 1 / counts[0], 1 / counts[1]


def _window_rows(unit: Unit, node: Node, inner: list[str]) -> list[str]:
    """C: the inner lines for each row of the window that lies inside, `q` at its start."""
    name = node.inputs[0]
    dilation = node.attributes.get("dilation", (1, 1))[0]
    first = f"y * {node['stride'][0]} - {node['padding'][0]}"
    return [
        f"for (int k = 0, r = {first}; k < {node['kernel_size'][0]}; ++k, r += {dilation}) {{",
        f"    if (r < 0 || r >= {unit.graph.type_of(name).shape[2]})",
        "        continue;",
        f"    const float *q = p + {row(unit, name, 'r')} + x * {node['stride'][1]};",
        *(indented(line) for line in inner),
        "}",
    ]


def _taps(node: Node, lanes: int, offset: int) -> list[tuple[int, str]]:
    """(column of the tap relative to x · stride, its vector) of a row of the window."""
    stride, dilation = node["stride"][1], node.attributes.get("dilation", (1, 1))[1]
    shifts = [offset * stride + kx * dilation - node["padding"][1] for kx in range(node["kernel_size"][1])]
    return [(shift, strided_load(lanes, f"q + ({shift})", stride)) for shift in shifts]


def _inside(unit: Unit, node: Node, lanes: int, shift: int) -> str:
    """C: a mask of the lanes whose tap lies inside the row; "" if all do, whatever x is."""
    width, stride = unit.graph.type_of(node.inputs[0]).shape[3], node["stride"][1]
    offset_free = node["padding"][1] == 0 and node["padding"][3] == 0
    if offset_free:
        return ""
    steps = ", ".join(str(lane * stride) for lane in range(lanes))
    at = f"((i{lanes}){{{steps}}} + (x * {stride} + ({shift})))"
    return f"({at} >= 0) & ({at} < {width})"


def _maximum(unit: Unit, node: Node, lanes: int, offset: int) -> list[str]:
    inner = []
    for shift, value in _taps(node, lanes, offset):
        mask = _inside(unit, node, lanes, shift)
        kept = f"pick{lanes}({mask}, {value}, splat{lanes}(-INFINITY))" if mask else value
        inner.append(f"v = max{lanes}(v, {kept});")
    return [f"f{lanes} v = splat{lanes}(-INFINITY);", *_window_rows(unit, node, inner)]


def _mean(unit: Unit, node: Node, lanes: int, offset: int) -> list[str]:
    # Margins are zeros, which add nothing.
    inner = [f"v += {value};" for _, value in _taps(node, lanes, offset)]
    total = [f"f{lanes} v = splat{lanes}(0.0f);", *_window_rows(unit, node, inner)]
    return [*total, f"v = v * share * load{lanes}(across + x + {offset});"]


def emit_pool_index(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel that says where in its plane the first largest value of each window lies."""
    _, channels, height, width = node.type.shape
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    row_length = unit.graph.type_of(node.inputs[0]).shape[3]
    stride = node["stride"][1]
    steps = ", ".join(str(lane * stride) for lane in range(lanes))

    def vector(offset: int) -> list[str]:
        inner = []
        for shift, value in _taps(node, lanes, offset):
            mask = _inside(unit, node, lanes, shift)
            inner += [
                f"{{ const f{lanes} t = {value};",
                f"  const i{lanes} m = (t > best){f' & ({mask})' if mask else ''};",
                f"  const i{lanes} at = (i{lanes}){{{steps}}} + (r * {row_length} + x * {stride} + ({shift}));",
                f"  best = pick{lanes}(m, t, best); id = (m & at) | (~m & id); }}",
            ]
        return [
            f"f{lanes} best = splat{lanes}(-INFINITY); i{lanes} id = {{0}};",
            *_window_rows(unit, node, inner),
            f"store{lanes}((float *)(void *)(o + x + {offset}), (f{lanes})id);",
        ]

    body = [
        source_pointer(unit, node),
        target_pointer(unit, node),
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c) {{",
        f"        const float *p = in + {channel(unit, node.inputs[0], 'c')};",
        f"        int32_t *o = out + {row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')};",
        *(indented(line, 2) for line in over_vectors(width, lanes, 1, vector)),
        "    }",
    ]
    add_kernel(unit, node, name, height, body)


def emit_adaptive_pool(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of an adaptive pooling; threads share the channels, for there may be one pixel only."""
    _, channels, height, width = node.type.shape
    size = unit.graph.type_of(node.inputs[0]).shape[2:]
    lanes = unit.target.lanes
    unit.lanes.add(lanes)
    largest = node.op == "adaptive_max_pool"
    rows, columns = bins(size[0], height), bins(size[1], width)
    start, better = ("-INFINITY", "a > b ? a : b") if largest else ("0.0f", "a + b")
    vector = f"v = max{lanes}(v, load{lanes}(q + x));" if largest else f"v += load{lanes}(q + x);"
    body = [
        source_pointer(unit, node),
        target_pointer(unit, node),
        *(table("int", key, [pair[i] for pair in pairs]) for key, pairs, i in _edges(rows, columns)),
        "for (int c = first; c < last; ++c)",
        f"    for (int y = 0; y < {height}; ++y)",
        f"        for (int o = 0; o < {width}; ++o) {{",
        f"            f{lanes} v = splat{lanes}({start});",
        f"            float b = {start};",
        "            for (int r = top[y]; r < bottom[y]; ++r) {",
        f"                const float *q = in + {row(unit, node.inputs[0], 'r')}"
        f" + {channel(unit, node.inputs[0], 'c')};",
        "                int x = left[o];",
        f"                for (; x + {lanes} <= right[o]; x += {lanes})",
        f"                    {vector}",
        "                for (; x < right[o]; ++x) {",
        "                    const float a = q[x];",
        f"                    b = {better};",
        "                }",
        "            }",
        f"            for (int x = 0; x < {lanes}; ++x) {{",
        "                const float a = v[x];",
        f"                b = {better};",
        "            }",
        f"            out[{row(unit, node.name, 'y')} + {channel(unit, node.name, 'c')} + o] = {_result(largest)};",
        "        }",
    ]
    add_kernel(unit, node, name, channels, body)


def _edges(rows: list[tuple[int, int]], columns: list[tuple[int, int]]) -> list[tuple[str, list[tuple[int, int]], int]]:
    return [("top", rows, 0), ("bottom", rows, 1), ("left", columns, 0), ("right", columns, 1)]


def _result(largest: bool) -> str:
    return "b" if largest else f"b * ({c_float(1.0)} / (float)((bottom[y] - top[y]) * (right[o] - left[o])))"
