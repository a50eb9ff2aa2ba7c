"""Which rows a kernel reads and writes: what can be computed strip by strip, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetseg.compiler.ir import Graph, Node

#: [first, last)
Rows = tuple[int, int]

#: Operations whose kernels keep to the rows that `rows_read` and `rows_written` tell.
ROW_BY_ROW = frozenset({"conv2d", "pyramid", "max_pool", "avg_pool", "copy", "pool_place"})


def works_row_by_row(node: Node) -> bool:
    """Whether the node's kernel reads and writes the rows that this file tells."""
    return node.op in ROW_BY_ROW


def grid_rows(node: Node) -> int:
    """Rows of the grid over which the kernel walks: half of a shuffled result's."""
    return int(node.type.shape[2]) // _shuffle(node)


def rows_written(node: Node, rows: Rows) -> Rows:
    """Rows of the result that those of the grid give."""
    factor = _shuffle(node)
    return rows[0] * factor, rows[1] * factor


def rows_read(graph: Graph, node: Node, rows: Rows) -> Mapping[str, Rows]:
    """Rows of each map that the kernel reads for rows of its grid, clipped to the map."""
    found = {node.inputs[0]: _clipped(graph, node.inputs[0], _window(graph, node, rows))}
    first, last = rows_written(node, rows)
    for step in node.epilogue:
        for name in step.operands:
            if name not in graph.constants:
                own = (first // 2, -(-last // 2)) if step.op == "add_unpooled" else (first, last)
                other = found.get(name, own)
                found[name] = _clipped(graph, name, (min(own[0], other[0]), max(own[1], other[1])))
    return found


def _window(graph: Graph, node: Node, rows: Rows) -> Rows:
    if node.op == "copy":
        return rows
    if node.op == "pool_place":
        return 2 * rows[0], 2 * rows[1]
    windows = _windows(graph, node)
    return (
        min(rows[0] * stride - top for _, stride, top in windows),
        max((rows[1] - 1) * stride - top + extent for extent, stride, top in windows),
    )


def _windows(graph: Graph, node: Node) -> list[tuple[int, int, int]]:
    """(rows that a window spans, its stride, padding above) for everything that slides over the first input."""
    if node.op == "pyramid":
        heights = [graph.type_of(name).shape[2] for name in node.inputs[1:]]
        return [_span(height, branch) for height, branch in zip(heights, node["branches"], strict=True)]
    height = graph.type_of(node.inputs[1]).shape[2] if node.op == "conv2d" else node["kernel_size"][0]
    return [_span(height, node.attributes)]


def _span(height: int, window: Mapping[str, Any]) -> tuple[int, int, int]:
    dilation = window.get("dilation", (1, 1))[0]
    return (height - 1) * dilation + 1, window["stride"][0], window["padding"][0]


def _clipped(graph: Graph, name: str, rows: Rows) -> Rows:
    height = graph.type_of(name).shape[2]
    return min(max(rows[0], 0), height), min(max(rows[1], 0), height)


def _shuffle(node: Node) -> int:
    return int(node.attributes.get("shuffle", 1))
