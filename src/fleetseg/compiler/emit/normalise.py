"""What looks at all channels of a pixel: softmax, its logarithm, local response normalisation."""

from __future__ import annotations

from fleetseg.compiler.emit.functions import c_float
from fleetseg.compiler.emit.planes import add_kernel, over_vectors, row, source_pointer, target_pointer
from fleetseg.compiler.emit.unit import Unit, indented
from fleetseg.compiler.ir import Node
from fleetseg.compiler.schedule import vector_lanes


def emit_softmax(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a softmax or log_softmax over the channels."""
    channels, lanes = node.type.shape[1], vector_lanes(node.type.shape[3], unit.target)
    loop = f"for (int c = 0; c < {channels}; ++c)"
    load, store = _addresses(unit, node)
    value = f"load{lanes}({load})"
    lines = [
        f"f{lanes} best = splat{lanes}(-INFINITY), sum = splat{lanes}(0.0f);",
        loop,
        f"    best = max{lanes}(best, {value});",
        f"{loop} {{",
        f"    const f{lanes} power = exp_{lanes}({value} - best);",
        "    sum += power;",
        *([f"    store{lanes}({store}, power);"] if node.op == "softmax" else []),
        "}",
    ]
    if node.op == "softmax":
        result = ["sum = 1.0f / sum;", loop, f"    store{lanes}({store}, load{lanes}({store}) * sum);"]
    else:
        result = [f"best += log_{lanes}(sum);", loop, f"    store{lanes}({store}, {value} - best);"]
    _emit(unit, node, name, lanes, [*lines, *result])


def emit_response_norm(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a local response normalisation."""
    channels, lanes = node.type.shape[1], vector_lanes(node.type.shape[3], unit.target)
    before, after = node["size"] // 2, (node["size"] - 1) // 2
    load, store = _addresses(unit, node)
    neighbour = f"load{lanes}({load.replace('c *', 'n *')})"
    lines = [
        f"for (int c = 0; c < {channels}; ++c) {{",
        f"    const int low = c > {before} ? c - {before} : 0;",
        f"    const int high = c + {after} < {channels} ? c + {after} : {channels - 1};",
        f"    f{lanes} sum = splat{lanes}(0.0f);",
        "    for (int n = low; n <= high; ++n)",
        f"        sum += {neighbour} * {neighbour};",
        f"    sum = sum * {c_float(node['alpha'] / node['size'])} + {c_float(node['k'])};",
        f"    store{lanes}({store}, load{lanes}({load}) * exp_{lanes}(log_{lanes}(sum) * {c_float(-node['beta'])}));",
        "}",
    ]
    _emit(unit, node, name, lanes, lines)


def _addresses(unit: Unit, node: Node) -> tuple[str, str]:
    """C: where channel `c` of the vector from `x` is read and stored, in the row at `p` and `o`."""
    segments = [unit.view(value).buffer.segment for value in (node.inputs[0], node.name)]
    return f"p + x + c * (ptrdiff_t){segments[0]}", f"o + x + c * (ptrdiff_t){segments[1]}"


def _emit(unit: Unit, node: Node, name: str, lanes: int, lines: list[str]) -> None:
    _, _, height, width = node.type.shape
    unit.lanes.add(lanes)

    # The last vector overlaps the one before: it starts anew from the source, so nothing is normalised twice.
    def vector(offset: int) -> list[str]:
        shift = [f"const float *p = line + {offset};", f"float *o = target + {offset};"] if offset else []
        return [*(shift or ["const float *p = line;", "float *o = target;"]), *lines]

    body = [
        source_pointer(unit, node),
        target_pointer(unit, node),
        "for (int y = first; y < last; ++y) {",
        f"    const float *line = in + {row(unit, node.inputs[0], 'y')};",
        f"    float *target = out + {row(unit, node.name, 'y')};",
        *(indented(line) for line in over_vectors(width, lanes, 1, vector)),
        "}",
    ]
    add_kernel(unit, node, name, height, body)
