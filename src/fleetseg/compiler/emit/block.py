"""What one register block of a convolution computes, and what its code depends on."""

from __future__ import annotations

from dataclasses import dataclass

from fleetseg.compiler.emit.conv_plan import Chain, Stage
from fleetseg.compiler.ir import Node
from fleetseg.compiler.memory import Buffer


@dataclass(frozen=True)
class Block:
    """Output channels × pixel vectors of one row."""

    node: Node
    chain: Chain
    lanes: int
    #: Pixel offsets of the vectors.
    offsets: tuple[int, ...]
    units: int
    source: Buffer
    #: Whether an instruction takes pairs of bf16 as they lie.
    dots: bool = False
    #: Whether the sums lie in tile registers.
    tiles: bool = False

    @property
    def halves(self) -> tuple[str, ...]:
        """What is done to a loaded vector; twice where the halves of its pairs are multiplied one after the other."""
        if self.source.element == "bf16" and not self.dots:
            return (f"low_half{self.lanes}", f"high_half{self.lanes}")
        return ("",)

    @property
    def multiplies_pairs(self) -> bool:
        """Whether a multiply-add takes two channels at once."""
        return self.source.element == "bf16" and self.dots

    def names(self) -> list[list[list[str]]]:
        """Accumulator variables by unit, accumulator and pixel vector."""
        return [
            [[f"a{u}_{a}_{v}" for v in range(len(self.offsets))] for a in range(self.chain.accumulators)]
            for u in range(self.units)
        ]


def grid_size(node: Node) -> tuple[int, int]:
    """(rows, columns) of the grid on which the convolution works: half of a shuffled result's."""
    height, width = node.type.shape[2:]
    return (height // 2, width // 2) if node.attributes.get("shuffle") == 2 else (height, width)


def over_rows(block: Block, stage: Stage, inner: list[str], weights: int) -> list[str]:
    """C: `inner` for each kernel row, with `p` at channel 0 of the row that it reads; `grid_row` is the result's row.

    Outside the map all taps are zero, so they are skipped, and `w` moves on by `weights`.
    """
    height = block.source.height
    lines: list[str] = []
    if len(stage.rows) > 1 and stage.rows == tuple(range(stage.rows[0], stage.rows[-1] + 1)):
        first = f"grid_row * {stage.stride[0]} + {stage.rows[0] * stage.dilation[0] - stage.padding[0]}"
        lines.append(f"for (int k = 0, r = {first}; k < {len(stage.rows)}; ++k, r += {stage.dilation[0]}) {{")
        lines += [f"    {line}" for line in _row_code(block, inner, weights, True)]
        return [*lines, "}"]
    for ky in stage.rows:
        offset = ky * stage.dilation[0] - stage.padding[0]
        lines += ["{", f"    const int r = grid_row * {stage.stride[0]} + {offset};"]
        reachable = offset >= 0 and (grid_size(block.node)[0] - 1) * stage.stride[0] + offset < height
        lines += [f"    {line}" for line in _row_code(block, inner, weights, not reachable)]
        lines.append("}")
    return lines


def _row_code(block: Block, inner: list[str], weights: int, guarded: bool) -> list[str]:
    body = [f"const float *p = in + {block.source.row_offset('r')};", *inner]
    if not guarded:
        return body
    return [
        f"if (r < 0 || r >= {block.source.height}) {{",
        f"    w += {weights};",
        "} else {",
        *(f"    {line}" for line in body),
        "}",
    ]
