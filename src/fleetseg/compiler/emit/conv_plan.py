"""A convolution or pyramid as chains of stages, whatever its groups, branches, sub-pixels and epilogues.

A unit is what a register block counts: one output channel, or its two sub-pixels of one row where a pixel shuffle
interleaves them. A chain computes the same units stage after stage without clearing the accumulators; each stage
stores its own output channels. A plain convolution is a chain of one stage, a pyramid's running sums are longer ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fleetseg.compiler.emit.epilogue import Epilogue, boundaries, epilogue_for
from fleetseg.compiler.emit.unit import Unit
from fleetseg.compiler.ir import Array, Node
from fleetseg.compiler.pairs import extent, pack_pairs
from fleetseg.errors import CompileError


@dataclass(frozen=True)
class Stage:
    """Taps that are added and, after them, a store."""

    #: (units, accumulators of a unit, inputs, kernel rows, kernel columns); an input is a channel, a pair of bf16
    #: channels whose weights are packed alike, or one half of such a pair where no instruction takes both.
    weights: Array
    #: (units, accumulators of a unit), or None for nothing.
    bias: Array | None
    #: Output channel of unit 0.
    channel: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    epilogue: Epilogue
    #: Input channels, whatever packs them.
    channels: int

    @property
    def rows(self) -> tuple[int, ...]:
        """Kernel rows with any weight."""
        return tuple(ky for ky in range(self.weights.shape[3]) if self.weights[:, :, :, ky].any()) or (0,)

    def columns(self, accumulator: int) -> tuple[int, ...]:
        """Kernel columns with any weight for that accumulator of the units."""
        part = self.weights[:, accumulator]
        return tuple(kx for kx in range(part.shape[3]) if part[..., kx].any())

    @property
    def every_column(self) -> tuple[int, ...]:
        """Kernel columns with any weight."""
        return tuple(sorted({kx for a in range(self.weights.shape[1]) for kx in self.columns(a)}))


@dataclass(frozen=True)
class Chain:
    """Stages over the same units and input channels."""

    stages: tuple[Stage, ...]
    #: First input channel.
    input_channel: int
    #: Which of two rows the units' sub-pixels belong to, where the result is shuffled.
    sub_row: int

    @property
    def units(self) -> int:
        """How many."""
        return int(self.stages[0].weights.shape[0])

    @property
    def accumulators(self) -> int:
        """Of one unit and pixel vector."""
        return int(self.stages[0].weights.shape[1])


def chains_of(unit: Unit, node: Node) -> list[Chain]:
    """The chains that together make the node."""
    if node.op == "pyramid":
        return _pyramid_chains(unit, node)
    weight = unit.graph.constants[node.inputs[1]]
    bias = unit.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
    if node.attributes.get("shuffle") == 2:
        return _shuffled_chains(unit, node, weight, bias)
    size = weight.shape[0] // node["groups"]
    chains = []
    for group in range(node["groups"]):
        for first, last in _ranges(node, group * size, (group + 1) * size):
            own_bias = None if bias is None else bias[first:last, None]
            stage = _stage(unit, node, node.attributes, weight[first:last, None], own_bias, first)
            chains.append(Chain((stage,), group * weight.shape[1], 0))
    return chains


def _shuffled_chains(unit: Unit, node: Node, weight: Array, bias: Array | None) -> list[Chain]:
    """Rows of sub-pixels apart, since they lack different taps and go to different rows."""
    phases = weight.reshape(-1, 2, 2, *weight.shape[1:])
    biases = None if bias is None else bias.reshape(-1, 2, 2)
    chains = []
    for row in (0, 1):
        for first, last in _ranges(node, 0, phases.shape[0]):
            own_bias = None if biases is None else biases[first:last, row]
            stage = _stage(unit, node, node.attributes, phases[first:last, row], own_bias, first)
            chains.append(Chain((stage,), 0, row))
    return chains


def _pyramid_chains(unit: Unit, node: Node) -> list[Chain]:
    weights = [unit.graph.constants[name] for name in node.inputs[1:]]
    starts = np.cumsum([0] + [weight.shape[0] for weight in weights])
    links: list[list[int]] = []
    for index, continues in enumerate(node["continues"]):
        if continues:
            links[-1].append(index)
        else:
            links.append([index])
    chains = []
    for link in links:
        cuts = {0, weights[link[0]].shape[0]}
        for index in link:
            limits = boundaries(_steps(node), node.type.shape[1])
            cuts.update(limit - starts[index] for limit in limits if 0 < limit - starts[index] < max(cuts))
        edges = sorted(int(cut) for cut in cuts)
        for first, last in pairwise(edges):
            stages = [
                _stage(unit, node, node["branches"][i], weights[i][first:last, None], None, int(starts[i]) + first)
                for i in link
            ]
            if len({len(stage.epilogue.operands) for stage in stages}) > 1:
                raise CompileError(f"'{node.op}' at {node.place}, of which parts read other maps, has no C yet")
            chains.append(Chain(tuple(stages), 0, 0))
    return chains


def _stage(
    unit: Unit, node: Node, window: Mapping[str, Any], weights: Array, bias: Array | None, channel: int
) -> Stage:
    epilogue = epilogue_for(unit, _steps(node), channel, channel + weights.shape[0], node.place)
    top, left = window["padding"][:2]
    packed = _packed(unit, node.inputs[0], weights)
    channels = weights.shape[2]
    return Stage(packed, bias, channel, window["stride"], (top, left), window["dilation"], epilogue, channels)


def _packed(unit: Unit, source: str, weights: Array) -> Array:
    """Weights in the order of the source's segments."""
    places = unit.view(source).places
    if not places:
        return weights
    spread = np.zeros((*weights.shape[:2], extent(places), *weights.shape[3:]), np.float32)
    spread[:, :, list(places)] = weights
    return pack_pairs(spread[:, :, 0::2], spread[:, :, 1::2]) if unit.target.dots else spread


def _steps(node: Node) -> tuple[Any, ...]:
    return tuple(step for step in node.epilogue if step.op != "argmax")


def _ranges(node: Node, first: int, last: int) -> list[tuple[int, int]]:
    """[first, last) cut where the epilogue changes."""
    limits = boundaries(_steps(node), 1 << 30)
    edges = sorted({first, last, *(limit for limit in limits if first < limit < last)})
    return list(pairwise(edges))
