"""How a kernel walks over its result: vector width, blocks of pixels, blocks of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fleetseg.compiler.target import Target

#: Multiply-adds in flight that hide their latency: 4 cycles × 2 units.
IN_FLIGHT = 8
#: What loading and broadcasting a weight costs, and a turn of the innermost loop, in multiply-adds.
BROADCAST, TURN = 0.5, 1.0
#: The share of the loads that multiply-adds do not hide.
UNHIDDEN = 0.1
#: What a cache line costs that lies in the second cache, in multiply-adds.
RELOAD = 3.0
#: Bytes of a cache line and of an element.
LINE, ELEMENT = 64, 4


@dataclass(frozen=True)
class PixelBlock:
    """Vectors computed together: `count` blocks from `start`, `step` apart, each with vectors at `offsets`."""

    start: int
    step: int
    count: int
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Blocking:
    """A row's pixels and a range of units (channels, or channels × sub-pixels) cut into register blocks."""

    lanes: int
    pixels: tuple[PixelBlock, ...]
    #: Units in each block; at most two different sizes, the larger first.
    units: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """What a register block reads of its input."""

    #: Of one vector, in multiply-adds.
    load_cost: float
    #: Pieces of rows, one a channel and kernel row.
    segments: int = 1
    #: Pixels between two results, and from the first kernel column to the last.
    stride: int = 1
    spread: int = 0
    #: Kernel columns that read the same piece.
    columns: int = 1

    def lines(self, vectors: int, lanes: int) -> float:
        """Cache lines of one piece; it begins anywhere in its first."""
        return (vectors * lanes * self.stride + self.spread) * ELEMENT / LINE + 0.5


def vector_lanes(width: int, target: Target) -> int:
    """The widest vector that fits into a row: its last one overlaps the one before, so nothing lies outside."""
    lanes = target.lanes
    while lanes > width:
        lanes //= 2
    return lanes


def pixel_blocks(width: int, lanes: int, size: int) -> tuple[PixelBlock, ...]:
    """Cut a row into blocks of at most `size` vectors, as equal as possible."""
    starts = [min(index * lanes, width - lanes) for index in range(-(-width // lanes))]
    blocks: list[PixelBlock] = []
    position = 0
    for part in near_equal(len(starts), size):
        first = starts[position]
        offsets = tuple(start - first for start in starts[position : position + part])
        previous = blocks[-1] if blocks else None
        if previous and previous.offsets == offsets and _continues(previous, first):
            step = first - previous.start if previous.count == 1 else previous.step
            blocks[-1] = PixelBlock(previous.start, step, previous.count + 1, offsets)
        else:
            blocks.append(PixelBlock(first, 0, 1, offsets))
        position += part
    return tuple(blocks)


def _continues(block: PixelBlock, start: int) -> bool:
    return block.count == 1 or start == block.start + block.step * block.count


def near_equal(total: int, largest: int) -> list[int]:
    """`total` as the fewest parts of at most `largest`, the larger ones first: 32 by 5 → 5 5 5 5 4 4 4."""
    parts = -(-total // largest)
    small, extra = divmod(total, parts)
    return [small + 1] * extra + [small] * (parts - extra)


@cache
def choose_blocking(width: int, units: int, accumulators: int, window: Window, held: int, target: Target) -> Blocking:
    """The cheapest blocks by a count of cycles.

    `accumulators` of a unit and pixel vector, `held` further registers a pixel vector that live through the whole
    block (the running maximum of an arg-max).
    """
    lanes = vector_lanes(width, target)
    vectors = -(-width // lanes)
    options = [
        (_cost(near_equal(vectors, pixels), near_equal(units, size), accumulators, window, target), -pixels, size)
        for pixels in range(1, vectors + 1)
        for size in range(1, units + 1)
        if size * accumulators * pixels + pixels * (1 + held) + 2 <= target.registers
    ]
    _, pixels, size = min(options)
    return Blocking(lanes, pixel_blocks(width, lanes, -pixels), tuple(near_equal(units, size)))


def _cost(pixels: list[int], units: list[int], accumulators: int, window: Window, target: Target) -> float:
    """Cost of one input channel's tap over all blocks, in multiply-adds of whole vectors.

    A weight's broadcast costs half of an aligned vector's load, and a load as much as a multiply-add: processors that
    issue two of these a cycle load two aligned vectors as well. Blocks of channels read the same window one after
    the other: one that the first cache cannot hold comes from the second each time.
    """

    def block(pixels: int, units: int) -> float:
        loads = pixels * window.load_cost + units * accumulators * BROADCAST
        return max(pixels * units * accumulators, loads, IN_FLIGHT) + UNHIDDEN * loads + TURN

    def reload(pixels: int) -> float:
        lines = window.lines(pixels, target.lanes)
        fits = lines * LINE * window.segments <= target.first_cache_bytes
        return 0.0 if fits else (len(units) - 1) * RELOAD * lines / window.columns

    return sum(reload(p) + sum(block(p, u) for u in units) for p in pixels)
