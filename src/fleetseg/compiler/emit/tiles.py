"""Convolutions in the tile registers of AMX: 16 output channels × 16 pixels a register, 32 input channels a step.

A row of a bf16 map holds, pair of channels by pair of channels, the pixels side by side: just what a tile of the second
operand is, whatever the dilation. Weights are the first operand: a row an output channel, 16 pairs in 64 bytes. A block
keeps its sums in registers 0 to 3, lays them into memory when a stage is done, and the epilogue reads them from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleetseg.compiler.emit.block import Block, grid_size, over_rows
from fleetseg.compiler.emit.conv_plan import Chain, Stage
from fleetseg.compiler.emit.unit import Floats, Unit, indented
from fleetseg.compiler.emit.vectors import strided_load
from fleetseg.compiler.ir import Node
from fleetseg.compiler.schedule import Blocking, near_equal, pixel_blocks, vector_lanes

#: Rows of a tile, and 32-bit words of a row.
ROWS = WORDS = 16
#: Registers for sums; 4 and 5 are for weights, 6 and 7 for pixels.
SUMS = 4

#: Of the assembler itself: gcc's macros for these let it move stores to memory across them.
HELPERS = """\
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define TILE_LOAD(t, from, step) \\
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t :: "r"(from), "r"((ptrdiff_t)(step)) : "memory")
#define TILE_STORE(t, to, step) \\
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" :: "r"(to), "r"((ptrdiff_t)(step)) : "memory")
/* sums += weights x pixels */
#define TILE_DOT(sums, weights, pixels) \\
    __asm__ volatile("tdpbf16ps %%tmm" #pixels ", %%tmm" #weights ", %%tmm" #sums ::: "memory")
#define TILE_SHAPES(shapes) __asm__ volatile("ldtilecfg (%0)" :: "r"(shapes) : "memory")
#define TILE_RELEASE() __asm__ volatile("tilerelease" ::: "memory")
"""


@dataclass(frozen=True)
class Shapes:
    """How a chain's channels are cut into tiles."""

    #: Rows of every tile of sums and weights: units × accumulators.
    rows: int
    #: Pairs of input channels that a step takes, of at most two different sizes, the larger first.
    steps: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The different numbers of pairs."""
        return tuple(dict.fromkeys(self.steps))

    def weight_registers(self, size: int) -> tuple[int, ...]:
        """For weights of a step of `size` pairs."""
        return (4, 5) if len(self.sizes) == 1 else (4 + self.sizes.index(size),)

    def pixel_registers(self, size: int) -> tuple[int, ...]:
        """For pixels of a step of `size` pairs."""
        return (6, 7) if len(self.sizes) == 1 else (6 + self.sizes.index(size),)

    def bytes(self) -> list[int]:
        """The operand of ldtilecfg: palette 1, bytes of a row, rows."""
        bytes_of_rows, rows = [4 * WORDS] * 8, [self.rows] * 8
        for size in self.sizes:
            for register in self.weight_registers(size):
                bytes_of_rows[register] = 4 * size
            for register in self.pixel_registers(size):
                rows[register] = size
        low_high = [part for value in bytes_of_rows for part in (value & 255, value >> 8)]
        return [1, *[0] * 15, *low_high, *[0] * 16, *rows, *[0] * 8]


def fits(unit: Unit, node: Node) -> bool:
    """Whether the target has tiles and a row of the result is as wide as one."""
    return (
        unit.target.tiles
        and unit.view(node.inputs[0]).paired
        and vector_lanes(grid_size(node)[1], unit.target) == WORDS
    )


def shapes_of(chain: Chain) -> Shapes:
    """As few and as equal tiles as there can be."""
    tiles = -(-chain.units * chain.accumulators // ROWS)
    pairs = chain.stages[0].weights.shape[2]
    return Shapes(-(-chain.units // tiles) * chain.accumulators, tuple(near_equal(pairs, WORDS)))


def choose_tile_blocks(chain: Chain, width: int) -> Blocking:
    """Two tiles of channels by two of pixels, or one by four."""
    per_tile = shapes_of(chain).rows // chain.accumulators
    counts = near_equal(-(-chain.units // per_tile), 2)
    units = [per_tile * count for count in counts]
    units[-1] -= sum(units) - chain.units
    return Blocking(WORDS, pixel_blocks(width, WORDS, SUMS // max(counts)), tuple(units))


def shape_call(unit: Unit, chain: Chain) -> str:
    """C: let the registers have the chain's shapes."""
    numbers = ", ".join(map(str, shapes_of(chain).bytes()))
    table = f"static const uint8_t shapes[64] __attribute__((aligned(64))) = {{{numbers}}};"
    body = indented(f"{table}\nTILE_SHAPES(shapes);")
    return f"{unit.add_function('shapes', 'void NAME(void)', body)}();"


def pack_tiles(block: Block, first: int) -> Floats:
    """The weights of units [first, first + block.units) in the order of use, in whole cache lines.

    Stage by stage: tiles, then the first stage's start values, then the epilogue's parameters.
    """
    own = slice(first, first + block.units)
    parts: list[Floats] = []
    for index, stage in enumerate(block.chain.stages):
        parts.append(_weight_tiles(block, stage, stage.weights[own]))
        if index == 0 and stage.bias is not None:
            parts.append(np.asarray(stage.bias[own], np.float32).ravel())
        parameters = [stage.epilogue.parameters(stage.channel + u) for u in range(own.start, own.stop)]
        parts.append(np.asarray(parameters, np.float32).ravel())
        parts[-1] = np.pad(parts[-1], (0, parameter_words(block, index) - parts[-1].size))
    return np.concatenate(parts)


def parameter_words(block: Block, index: int) -> int:
    """How many weights a stage's epilogue takes; in tiles, until the next whole cache line."""
    stage = block.chain.stages[index]
    words = stage.epilogue.parameter_count * block.units
    if not block.tiles:
        return words
    start_values = block.units * block.chain.accumulators if index == 0 and stage.bias is not None else 0
    return words + -(words + start_values) % WORDS


def _weight_tiles(block: Block, stage: Stage, weights: Floats) -> Floats:
    """(units, accumulators, pairs, kernel rows, columns) → kernel row, step, column, tile, row, pair."""
    shapes, count = shapes_of(block.chain), _tiles_of(block)
    flat = weights.reshape(-1, *weights.shape[2:])
    parts = []
    for ky in stage.rows:
        start = 0
        for size in shapes.steps:
            for kx in stage.every_column:
                tiles = np.zeros((count * shapes.rows, WORDS), np.float32)
                tiles[: flat.shape[0], :size] = flat[:, start : start + size, ky, kx]
                parts.append(tiles.ravel())
            start += size
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _tiles_of(block: Block) -> int:
    return -(-block.units * block.chain.accumulators // shapes_of(block.chain).rows)


def tile_start(block: Block) -> list[str]:
    """C: sums of zero, and where they are laid."""
    count = _tiles_of(block) * len(block.offsets)
    lines = [f"TILE_ZERO({number});" for number in range(count)]
    if block.chain.stages[0].stride[1] > 1:
        lines.append(f"float pixels[{WORDS * WORDS}] __attribute__((aligned(64)));")
    return [f"float sums[{count}][{ROWS * WORDS}] __attribute__((aligned(64)));", *lines]


def tile_stage(block: Block, index: int) -> list[str]:
    """C: add the taps of a stage, lay the sums into memory; `w` then stands at the epilogue's parameters."""
    stage, shapes = block.chain.stages[index], shapes_of(block.chain)
    tile = shapes.rows * WORDS
    per_step = len(stage.every_column) * _tiles_of(block) * tile
    inner: list[str] = []
    for size in shapes.sizes if stage.every_column else ():
        step = _step(block, stage, size)
        count = shapes.steps.count(size)
        inner.append(f"for (int c = 0; c < {count}; ++c, p += {size * block.source.segment}, w += {per_step}) {{")
        inner += [*(f"    {line}" for line in step), "}"]
    lines = over_rows(block, stage, inner, per_step * len(shapes.steps))
    for number in range(_tiles_of(block) * len(block.offsets)):
        lines.append(f"TILE_STORE({number}, sums[{number}], {4 * WORDS});")
    if index == 0 and stage.bias is not None:
        lines += ["const word *bias = w;", f"w += {block.units * block.chain.accumulators};"]
    return lines


def _step(block: Block, stage: Stage, size: int) -> list[str]:
    """C: one step's channels for all kernel columns; weights stay in their registers while they can."""
    shapes, tiles = shapes_of(block.chain), _tiles_of(block)
    weights, pixels = shapes.weight_registers(size), shapes.pixel_registers(size)
    lines: list[str] = []
    for number, kx in enumerate(stage.every_column):
        loaded: dict[int, int] = {}
        shift = kx * stage.dilation[1] - stage.padding[1]
        for v, offset in enumerate(block.offsets):
            register = pixels[v % len(pixels)]
            lines += _pixel_load(block, stage, size, register, offset * stage.stride[1] + shift)
            # There and back again: the last tile of weights serves twice.
            for m in range(tiles) if v % 2 == 0 else reversed(range(tiles)):
                own = weights[m % len(weights)]
                if loaded.get(own) != m:
                    at = (number * tiles + m) * shapes.rows * WORDS
                    lines.append(f"TILE_LOAD({own}, w + {at}, {4 * WORDS});")
                    loaded[own] = m
                lines.append(f"TILE_DOT({m * len(block.offsets) + v}, {own}, {register});")
    return lines


def _pixel_load(block: Block, stage: Stage, size: int, register: int, shift: int) -> list[str]:
    """C: pixels of `size` pairs of channels; strides gather them first."""
    segment, stride = block.source.segment, stage.stride[1]
    if stride == 1:
        return [f"TILE_LOAD({register}, p + {shift}, {4 * segment});"]
    gathered = strided_load(WORDS, f"p + {shift} + j * {segment}", stride)
    return [
        f"for (int j = 0; j < {size}; ++j)",
        f"    store{WORDS}(pixels + j * {WORDS}, {gathered});",
        f"TILE_LOAD({register}, pixels, {4 * WORDS});",
    ]


def tile_value(block: Block, unit: int, accumulator: int, vector: int) -> str:
    """C: a vector of sums."""
    row = unit * block.chain.accumulators + accumulator
    tile, row = divmod(row, shapes_of(block.chain).rows)
    load = f"load{WORDS}(sums[{tile * len(block.offsets) + vector}] + {row * WORDS})"
    if block.chain.stages[0].bias is None:
        return load
    return f"({load} + bias[{unit * block.chain.accumulators + accumulator}])"
