"""Class maps: the arg-max inside the last convolution, or over stored logits."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.emit.block import Block, grid_size
from fleetseg.compiler.emit.conv import (
    block_units,
    macs_of,
    pack,
    pixel_loop,
    runs,
    stage_code,
    start_code,
    value_of,
)
from fleetseg.compiler.emit.conv_plan import Chain, chains_of
from fleetseg.compiler.emit.tiles import fits, parameter_words, shape_call
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Kernel, Unit, indented
from fleetseg.compiler.ir import Node
from fleetseg.compiler.schedule import PixelBlock, pixel_blocks, vector_lanes


def emit_conv_classes(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a conv2d that ends in an arg-max: a running best and its class, in registers.

    A chain's units are all classes; a shuffled result has one chain for each of two rows.
    """
    chains = chains_of(unit, node)
    shuffled = node.attributes.get("shuffle") == 2
    body = [f"const float *in = {unit.pointer(node.inputs[0])};", "for (int y = first; y < last; ++y) {"]
    for chain in chains:
        row = f"2 * y + {chain.sub_row}" if shuffled else "y"
        body += [indented(line) for line in _row(unit, row, node.type.shape[3], _calls(unit, node, chain))]
    body.append("}")
    if fits(unit, node):
        body.append("TILE_RELEASE();")
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    rows = grid_size(node)[0]
    unit.add_kernel(Kernel(function, rows, name, node.place, "classes", macs_of(chains, node)))


def emit_argmax(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of an arg-max over a stored map."""
    source = unit.view(node.inputs[0])
    _, channels, height, width = unit.graph.type_of(node.inputs[0]).shape
    n = vector_lanes(width, unit.target)
    unit.lanes.add(n)
    calls: list[str] = []
    for pixels in pixel_blocks(width, n, 1):
        load = f"load{n}(p + c * {source.buffer.segment} + x)"
        vector = [
            f"f{n} best = splat{n}(-INFINITY);",
            f"i{n} id = {{0}};",
            f"for (int c = 0; c < {channels}; ++c)",
            f"    better{n}(&best, &id, {load}, c);",
            f"store_bytes{n}(line + x, __builtin_convertvector(id, b{n}));",
        ]
        calls += pixel_loop(pixels, vector)
    pointer = f"const float *p = in + {source.buffer.row_offset('y')} + {source.start()};"
    body = [f"const float *in = {unit.pointer(node.inputs[0])};", "for (int y = first; y < last; ++y) {"]
    body += [indented(line) for line in [pointer, *_row(unit, "y", width, calls)]]
    body.append("}")
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, height, name, node.place, "classes"))


def _row(unit: Unit, row: str, width: int, calls: list[str]) -> list[str]:
    """C: one row of classes, cropped as it leaves; `calls` fill `line`."""
    seen_width, seen_height = unit.seen
    return [
        f"if ({row} < {seen_height}) {{",
        f"    uint8_t line[{width}];",
        *(indented(call) for call in calls),
        f"    memcpy(job->classes + ({row}) * (ptrdiff_t){seen_width}, line, {seen_width});",
        "}",
    ]


def _calls(unit: Unit, node: Node, chain: Chain) -> list[str]:
    blocking = block_units(unit, node, chain, 2 * chain.accumulators, 1)
    source = unit.view(node.inputs[0])
    lines = [shape_call(unit, chain)] if fits(unit, node) else []
    for pixels in blocking.pixels:
        function, start = _function(unit, node, chain, blocking.lanes, pixels, blocking.units)
        stride = chain.stages[0].stride[1]
        offset = source.start(chain.input_channel)
        column = "2 * x" if chain.accumulators == 2 else "x"
        call = f"{function}(in + {offset} + x * {stride}, job->weights + {start}, line + {column}, y);"
        lines += pixel_loop(pixels, [call])
    return lines


def _function(
    unit: Unit, node: Node, chain: Chain, n: int, pixels: PixelBlock, sizes: tuple[int, ...]
) -> tuple[str, int]:
    """The function for all classes of one pixel block, and where its weights start."""
    source, tiles = unit.view(node.inputs[0]).buffer, fits(unit, node)
    pairs = [(a, v) for a in range(chain.accumulators) for v in range(len(pixels.offsets))]
    lines = [f"f{n} best{a}_{v} = splat{n}(-INFINITY); i{n} id{a}_{v} = {{0}};" for a, v in pairs]
    lines.append("int base = 0;")
    packed, first = [], 0
    for size, count in runs(sizes):
        block = Block(node, chain, n, pixels.offsets, size, source, unit.target.dots, tiles)
        packed += [pack(block, first + index * size) for index in range(count)]
        first += size * count
        chunk = [*start_code(block), *stage_code(block, 0), *_compare(block)]
        lines += [f"for (int b = 0; b < {count}; ++b, base += {size}) {{", *(indented(line) for line in chunk), "}"]
    lines += _store(n, chain.accumulators, pixels)
    signature = "void NAME(const float *in, const word *w, uint8_t *out, int grid_row)"
    function = unit.add_function("classes", signature, indented("\n".join([*lines, "(void)grid_row;"])))
    return function, unit.add_weights(np.concatenate(packed))


def _compare(block: Block) -> list[str]:
    stage, n = block.chain.stages[0], block.lanes
    count = stage.epilogue.parameter_count
    lines = []
    for u in range(block.units):
        for a in range(block.chain.accumulators):
            for v in range(len(block.offsets)):
                steps = stage.epilogue.code(n, "value", u, 0, f"(w + {u * count})")
                better = f"better{n}(&best{a}_{v}, &id{a}_{v}, value, base + {u});"
                lines.append(" ".join(["{", f"f{n} value = {value_of(block, u, a, v)};", *steps, better, "}"]))
    return [*lines, f"w += {parameter_words(block, 0)};"]


def _store(n: int, accumulators: int, pixels: PixelBlock) -> list[str]:
    lines = []
    for v, offset in enumerate(pixels.offsets):
        bytes_of = [f"__builtin_convertvector(id{a}_{v}, b{n})" for a in range(accumulators)]
        if accumulators == 1:
            lines.append(f"store_bytes{n}(out + {offset}, {bytes_of[0]});")
            continue
        pair = ", ".join(bytes_of)
        lines.append(f"store_bytes{n}(out + {2 * offset}, low_bytes{n}({pair}));")
        lines.append(f"store_bytes{n}(out + {2 * offset + n}, high_bytes{n}({pair}));")
    return lines
