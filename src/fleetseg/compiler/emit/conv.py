"""Convolutions and pyramids: register blocks of output channels × pixel vectors.

Weights are scalars, broadcast; vectors run over pixels. A block function computes one register block of one row; the
kernel calls it for every row, pixel block and channel block. Its weights lie one after the other in the order of use:
start values, then for each kernel row, input channel and kernel column one weight an accumulator, then the epilogue's
parameters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fleetseg.compiler.emit.block import Block, grid_size, over_rows
from fleetseg.compiler.emit.conv_plan import Chain, Stage, chains_of
from fleetseg.compiler.emit.epilogue import Operand
from fleetseg.compiler.emit.tiles import (
    WORDS,
    choose_tile_blocks,
    fits,
    pack_tiles,
    parameter_words,
    shape_call,
    tile_stage,
    tile_start,
    tile_value,
)
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Condition, Floats, Kernel, Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.ir import Node
from fleetseg.compiler.memory import ALIGNMENT, View
from fleetseg.compiler.schedule import ELEMENT, LINE, Blocking, PixelBlock, Window, choose_blocking

#: How many channels ahead their cache lines are asked for.
CHANNELS_AHEAD = 4


def emit_conv(unit: Unit, node: Node, name: str) -> None:
    """Add the kernel of a conv2d or pyramid that stores a feature map."""
    chains = chains_of(unit, node)
    body = [f"const float *in = {unit.pointer(node.inputs[0])};", f"float *out = {unit.pointer(node.name)};"]
    stages = [stage for chain in chains for stage in chain.stages]
    operands = {operand.value: operand for stage in stages for operand in stage.epilogue.operands}
    for index, operand in enumerate(operands.values()):
        body.append(f"const {operand.element} *s{index} = {unit.pointer(operand.value)};")
    sources = {value: f"s{index}" for index, value in enumerate(operands)}
    rows = []
    for chain in chains:
        rows += _chain_calls(unit, node, chain, sources)
    body += ["for (int y = first; y < last; ++y) {", *(indented(line) for line in rows), "}"]
    if fits(unit, node):
        body.append("TILE_RELEASE();")
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    # The arg-max has a copy of the last convolution; its stored form serves those who want logits alone.
    when: Condition = "logits" if node.name == unit.graph.outputs[0] and not unit.graph.users(node.name) else "always"
    rows_of_grid = grid_size(node)[0]
    unit.add_kernel(Kernel(function, rows_of_grid, name, node.place, when, macs_of(chains, node)))


def macs_of(chains: Sequence[Chain], node: Node) -> int:
    """Multiply-adds with weights that are not structurally zero."""
    rows, columns = grid_size(node)
    total = 0
    for chain in chains:
        for stage in chain.stages:
            for accumulator in range(chain.accumulators):
                taps = len(stage.rows) * len(stage.columns(accumulator))
                total += taps * stage.weights.shape[0] * stage.channels
    return total * rows * columns


def window_of(chain: Chain, lanes: int) -> Window:
    """What a register block of the chain's first stage reads.

    A load's cost is averaged over the taps of all stages: one across the border of a cache line counts twice, wide
    strides gather element by element.
    """
    stage = chain.stages[0]
    step = stage.stride[1]
    columns = stage.every_column
    if not columns:
        return Window(1.0)
    if step > 1:
        cost = {2: 4.0}.get(step, 1.5 * lanes)
    else:
        shifts = [kx * own.dilation[1] - own.padding[1] for own in chain.stages for kx, _ in _taps(chain, own)]
        cost = float(np.mean([1.0 if shift % ALIGNMENT == 0 else 2.0 for shift in shifts]))
    spread = (columns[-1] - columns[0]) * stage.dilation[1]
    # Kernels of one row have no prefetch of ours, and wide blocks let the processor look ahead by itself.
    segments = stage.weights.shape[2] * len(stage.rows) if len(stage.rows) > 1 else 0
    return Window(cost, segments, step, spread, len(columns))


def _chain_calls(unit: Unit, node: Node, chain: Chain, sources: dict[str, str]) -> list[str]:
    tiles = fits(unit, node)
    blocking = block_units(unit, node, chain, 0, 2 if unit.view(node.name).paired else 1)
    source = unit.view(node.inputs[0])
    # Every pixel block reads the same weights.
    weights: list[tuple[int, int]] = []
    position = 0
    for units, count in runs(blocking.units):
        block = Block(node, chain, blocking.lanes, (0,), units, source.buffer, unit.target.dots, tiles)
        packed = [pack(block, position + index * units) for index in range(count)]
        weights.append((unit.add_weights(np.concatenate(packed)), packed[0].size))
        position += units * count
    lines = [shape_call(unit, chain)] if tiles else []
    for pixels in blocking.pixels:
        calls: list[str] = []
        position = 0
        for (units, count), place in zip(runs(blocking.units), weights, strict=True):
            block = Block(node, chain, blocking.lanes, pixels.offsets, units, source.buffer, unit.target.dots, tiles)
            function = _block_function(unit, block)
            calls += _calls(unit, block, function, source, position, count, place, sources)
            position += units * count
        lines += pixel_loop(pixels, calls)
    return lines


def block_units(unit: Unit, node: Node, chain: Chain, held: int, group: int) -> Blocking:
    """Register blocks of whole groups of units; the last group may lack some."""
    if fits(unit, node):
        unit.lanes.add(WORDS)
        return choose_tile_blocks(chain, grid_size(node)[1])
    groups = -(-chain.units // group)
    window = window_of(chain, unit.target.lanes)
    width = grid_size(node)[1]
    blocking = choose_blocking(width, groups, chain.accumulators * group, window, held, unit.target)
    unit.lanes.add(blocking.lanes)
    units = [size * group for size in blocking.units]
    units[-1] -= groups * group - chain.units
    return replace(blocking, units=tuple(units))


def runs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Equal neighbours counted: 5 5 4 → (5, 2), (4, 1)."""
    result: list[tuple[int, int]] = []
    for size in sizes:
        if result and result[-1][0] == size:
            result[-1] = (size, result[-1][1] + 1)
        else:
            result.append((size, 1))
    return result


def pixel_loop(pixels: PixelBlock, calls: Sequence[str]) -> list[str]:
    """C: the calls for each of the pixel blocks, with `x` set."""
    if pixels.count == 1:
        return ["{", f"    const int x = {pixels.start};", *(indented(call) for call in calls), "}"]
    head = f"for (int i = 0, x = {pixels.start}; i < {pixels.count}; ++i, x += {pixels.step}) {{"
    return [head, *(indented(call) for call in calls), "}"]


def _calls(
    unit: Unit,
    block: Block,
    function: str,
    source: View,
    first_unit: int,
    count: int,
    weights: tuple[int, int],
    sources: dict[str, str],
) -> list[str]:
    """C: one call, or a loop of calls, of a block function."""
    chain, node = block.chain, block.node
    stage = chain.stages[0]
    shuffled = node.attributes.get("shuffle") == 2
    start, size = weights
    arguments = [
        f"in + {source.start(chain.input_channel)} + x * {stage.stride[1]}",
        f"job->weights + {start} + b * {size}",
        f"out + {_address(unit.view(node.name), stage.channel + first_unit, block.units, shuffled, chain.sub_row)}",
    ]
    for operand in stage.epilogue.operands:
        view = unit.view(operand.value)
        channel = stage.channel + first_unit - operand.first_channel
        arguments.append(
            f"{sources[operand.value]} + {_operand_address(view, channel, block.units, operand, shuffled, chain)}"
        )
    row = f"2 * y + {chain.sub_row}" if shuffled else "y"
    call = f"{function}({', '.join(arguments)}, y, {row});"
    if count == 1:
        return [re.sub(r" \+ b \* \d+", "", call)]
    return [f"for (int b = 0; b < {count}; ++b)", f"    {call}"]


def _address(view: View, channel: int, units: int, shuffled: bool, sub_row: int) -> str:
    row, column = (f"(2 * y + {sub_row})", "2 * x") if shuffled else ("y", "x")
    return _element(view, channel, units, row, column)


def _element(view: View, channel: int, units: int, row: str, column: str) -> str:
    """C: offset of an element; `b` counts blocks of `units` channels."""
    buffer = view.buffer
    segments = -(-units // 2) if view.paired else units
    return f"{buffer.row_offset(row)} + {view.start(channel)} + b * {segments * buffer.segment} + {column}"


def _operand_address(view: View, channel: int, units: int, operand: Operand, shuffled: bool, chain: Chain) -> str:
    if not operand.pooled:
        return _address(view, channel, units, shuffled, chain.sub_row)
    # Of half the size: a shuffled result's grid, or half of a plain one's row and column.
    return _element(view, channel, units, *(("y", "x") if shuffled else ("(y >> 1)", "(x >> 1)")))


def pack(block: Block, first: int) -> Floats:
    """The weights of units [first, first + block.units) in the order in which the block function reads them."""
    if block.tiles:
        return pack_tiles(block, first)
    own = slice(first, first + block.units)
    parts: list[Floats] = []
    for index, stage in enumerate(block.chain.stages):
        if index == 0:
            shape = (block.units, block.chain.accumulators)
            parts.append(np.zeros(shape, np.float32) if stage.bias is None else stage.bias[own])
        for ky in stage.rows:
            for channel in range(stage.weights.shape[2]):
                parts += [stage.weights[own, a, channel, ky, kx] for kx, a in _taps(block.chain, stage)]
        parameters = [stage.epilogue.parameters(stage.channel + u) for u in range(own.start, own.stop)]
        parts.append(np.asarray(parameters, np.float32))
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])


def _taps(chain: Chain, stage: Stage) -> list[tuple[int, int]]:
    """(kernel column, accumulator) in the order of use."""
    columns = [stage.columns(a) for a in range(chain.accumulators)]
    return [(kx, a) for kx in stage.every_column for a in range(chain.accumulators) if kx in columns[a]]


def _block_function(unit: Unit, block: Block) -> str:
    operands = block.chain.stages[0].epilogue.operands
    arguments = ["const float *in", "const word *w", "float *out"]
    arguments += [f"const {operand.element} *{operand.argument}" for operand in operands]
    lines = start_code(block)
    for index, stage in enumerate(block.chain.stages):
        lines += stage_code(block, index)
        if index:
            lines += _advance(unit, block, stage, block.chain.stages[index - 1])
        lines += _store_code(unit, block, index)
    lines.append("(void)grid_row; (void)y;")
    signature = f"void NAME({', '.join(arguments)}, int grid_row, int y)"
    return unit.add_function("block", signature, indented("\n".join(lines)))


def _advance(unit: Unit, block: Block, stage: Stage, before: Stage) -> list[str]:
    """C: pointers to the next stage's output channels."""

    def step(value: str, first: int) -> int:
        view = unit.view(value)
        return view.start(stage.channel - first) - view.start(before.channel - first)

    lines = [f"out += {step(block.node.name, 0)};"]
    for operand in stage.epilogue.operands:
        lines.append(f"{operand.argument} += {step(operand.value, operand.first_channel)};")
    return lines


def start_code(block: Block) -> list[str]:
    """C: declare the accumulators with their start values."""
    if block.tiles:
        return tile_start(block)
    n, lines, position = block.lanes, [], 0
    for unit_names in block.names():
        for vectors in unit_names:
            values = ", ".join(f"{name} = splat{n}(w[{position}])" for name in vectors)
            lines.append(f"f{n} {values};")
            position += 1
    return [*lines, f"w += {position};"]


def stage_code(block: Block, index: int) -> list[str]:
    """C: add a stage's taps to the accumulators; `in` stands at channel 0 of row 0, `grid_row` is the row."""
    if block.tiles:
        return tile_stage(block, index)
    stage = block.chain.stages[index]
    channels = stage.weights.shape[2] // len(block.halves)
    taps = _taps(block.chain, stage)
    per_channel = len(taps) * block.units * len(block.halves)
    inner = [
        f"for (int c = 0; c < {channels}; ++c, p += {block.source.segment}, w += {per_channel}) {{",
        *(indented(line) for line in _prefetches(block, stage)),
        *(indented(line) for line in _tap_code(block, stage, taps)),
        "}",
    ]
    return over_rows(block, stage, inner, per_channel * channels)


def _prefetches(block: Block, stage: Stage) -> list[str]:
    """C: ask for the cache lines of a channel to come.

    A channel's part of a row is shorter than what the processor needs to see before it looks ahead by itself. Kernels
    of one row gain nothing: they have too little to do while a line comes.
    """
    if len(stage.rows) == 1 or not stage.every_column:
        return []
    shifts = [kx * stage.dilation[1] - stage.padding[1] for kx in stage.every_column]
    first = block.offsets[0] * stage.stride[1] + min(shifts)
    last = (block.offsets[-1] + block.lanes - 1) * stage.stride[1] + max(shifts)
    ahead = CHANNELS_AHEAD * block.source.segment
    return [f"__builtin_prefetch(p + {ahead + at});" for at in range(first, last + 1, LINE // ELEMENT)]


def _tap_code(block: Block, stage: Stage, taps: Sequence[tuple[int, int]]) -> list[str]:
    n, names = block.lanes, block.names()
    lines, position = [], 0
    for half in block.halves:
        for kx in sorted({kx for kx, _ in taps}):
            shift = kx * stage.dilation[1] - stage.padding[1]
            lines.append("{")
            for v, offset in enumerate(block.offsets):
                load = strided_load(n, f"p + {offset * stage.stride[1] + shift}", stage.stride[1])
                lines.append(f"    const f{n} x{v} = {f'{half}({load})' if half else load};")
            for accumulator in [a for column, a in taps if column == kx]:
                for u in range(block.units):
                    adds = " ".join(
                        _multiply_add(block, names[u][accumulator][v], v) for v in range(len(block.offsets))
                    )
                    weight = f"splat_bits{n}(w + {position})" if block.multiplies_pairs else f"w[{position}]"
                    kind = f"f{n}" if block.multiplies_pairs else "float"
                    # Packed accumulator by accumulator, each with all units.
                    lines.append(f"    {{ const {kind} s = {weight}; {adds} }}")
                    position += 1
            lines.append("}")
    return lines


def _multiply_add(block: Block, accumulator: str, vector: int) -> str:
    if block.multiplies_pairs:
        return f"{accumulator} = dot{block.lanes}({accumulator}, x{vector}, s);"
    return f"{accumulator} += x{vector} * s;"


def _store_code(unit: Unit, block: Block, index: int) -> list[str]:
    """C: the epilogue and the stores; of a result in bf16 two units make an element."""
    stage = block.chain.stages[index]
    view, count = unit.view(block.node.name), stage.epilogue.parameter_count
    n, segment = block.lanes, view.buffer.segment
    lines: list[str] = []
    for first in range(0, block.units, 2 if view.paired else 1):
        for v, offset in enumerate(block.offsets):
            for sub_pixel, at in enumerate(_columns(block, offset)):
                done = []
                for u in range(first, min(first + 1 + view.paired, block.units)):
                    steps = stage.epilogue.code(n, f"v{u - first}", u, at, f"(w + {u * count})")
                    done += [f"f{n} v{u - first} = {_value(block, u, v, sub_pixel)};", *steps]
                value = "v0"
                if view.paired:
                    value = f"pair{n}(v0, {'v1' if first + 1 < block.units else f'splat{n}(0.0f)'})"
                to = first // 2 if view.paired else first
                lines.append(" ".join(["{", *done, f"store{n}(out + {to * segment + at}, {value});", "}"]))
    return [*lines, f"w += {parameter_words(block, index)};"]


def _columns(block: Block, offset: int) -> tuple[int, ...]:
    """Where the vectors go that one pixel vector gives."""
    shuffled = block.node.attributes.get("shuffle") == 2
    return (2 * offset, 2 * offset + block.lanes) if shuffled else (offset,)


def _value(block: Block, unit: int, vector: int, sub_pixel: int) -> str:
    """C: an accumulator, or the first or second half of two that alternate."""
    if block.node.attributes.get("shuffle") != 2:
        return value_of(block, unit, 0, vector)
    half = ("low", "high")[sub_pixel]
    return f"{half}{block.lanes}({value_of(block, unit, 0, vector)}, {value_of(block, unit, 1, vector)})"


def value_of(block: Block, unit: int, accumulator: int, vector: int) -> str:
    """C: the sums of a unit's accumulator at a pixel vector."""
    if block.tiles:
        return tile_value(block, unit, accumulator, vector)
    return block.names()[unit][accumulator][vector]
