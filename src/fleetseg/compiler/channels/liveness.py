"""Which groups of channels the logits depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.channels.constant_maps import NOTHING, Values, constant_channels
from fleetseg.compiler.channels.wiring import Ids, Use, Wiring
from fleetseg.compiler.ir import Graph, Node

#: A constant channel this near to zero is zero: what it adds to a sum is below the rounding of float32 sums.
_ZERO = 1e-6

#: A BatchNorm leaves channels aside only if they are at least this share: leaving some aside is a copy.
_WORTH = 1 / 8


def dead_scales(graph: Graph, node: Node) -> npt.NDArray[np.bool_]:
    """Channels of a BatchNorm whose scale is nothing."""
    scale, _, _, variance = (graph.constants[name] for name in node.inputs[1:])
    return np.asarray(np.abs(scale) / np.sqrt(variance + node["eps"]) < NOTHING)


def living(
    graph: Graph, frozen: Mapping[str, tuple[int, ...] | None], whole: Sequence[str] = (), choose: bool = True
) -> tuple[Wiring, set[int]]:
    """The wiring, and its groups that must stay.

    `frozen` are constants that keep their length along these axes (None: all), `whole` are values that keep their
    channels. With `choose` a BatchNorm may leave dead channels aside that others read, where that is worth a copy.
    """
    constants = constant_channels(graph)
    norms = [node for node in graph.nodes if node.op == "batch_norm"]
    choosing = frozenset(node.name for node in norms if choose and dead_scales(graph, node).any())
    while True:
        wiring = Wiring(graph, choosing)
        wiring.fix_constants(frozen)
        wiring.fix_values(whole)
        alive = _alive(wiring, constants)
        worth = frozenset(name for name in choosing if _dropped(wiring, name, alive) >= _WORTH)
        if worth == choosing:
            return wiring, wiring.settle(alive)
        choosing = worth


def is_alive(wiring: Wiring, ids: Ids, alive: set[int]) -> npt.NDArray[np.bool_]:
    """Which of these channels stay."""
    return np.isin(wiring.groups(ids), sorted(alive))


def _dropped(wiring: Wiring, norm: str, alive: set[int]) -> float:
    before, behind = wiring.chosen[norm]
    kept = is_alive(wiring, before, alive)
    return 1 - float(is_alive(wiring, behind, alive).sum() / kept.sum())


def _alive(wiring: Wiring, constants: Mapping[str, Values]) -> set[int]:
    """The least set that holds what is fixed and all that makes what it holds."""
    alive = wiring.fixed()
    convolutions = list(_convolutions(wiring, constants))
    count = -1
    while count != len(alive):
        count = len(alive)
        for reads, makes, seen in reversed(convolutions):
            needed = seen[is_alive(wiring, makes, alive)].any(axis=0)
            alive.update(wiring.groups(reads[needed]).tolist())
        for before, behind in wiring.chosen.values():
            alive.update(wiring.groups(before[is_alive(wiring, behind, alive)]).tolist())
        for use in wiring.uses:
            # A layer keeps at least one channel.
            if count == len(alive) and not is_alive(wiring, use.ids, alive).any():
                alive.add(int(wiring.groups(use.ids[:1])[0]))
    return alive


def _convolutions(wiring: Wiring, constants: Mapping[str, Values]) -> list[tuple[Ids, Ids, npt.NDArray[np.bool_]]]:
    """(channels read, channels made, whether made depends on read) of every plain convolution."""
    nodes = wiring.graph.by_name
    by_node: dict[str, dict[bool, Use]] = {}
    for use in wiring.uses:
        if nodes[use.node].op in ("conv2d", "conv_transpose2d") and use.constant == nodes[use.node].inputs[1]:
            by_node.setdefault(use.node, {})[use.reads] = use
    found = []
    for name, uses in by_node.items():
        if True not in uses:
            continue  # depthwise: one channel makes one
        weight = wiring.graph.constants[uses[True].constant]
        seen = np.abs(weight).max(axis=(2, 3)) > 0
        if nodes[name].op == "conv_transpose2d":
            seen = seen.T
        zero = np.abs(constants[nodes[name].inputs[0]]) < _ZERO
        found.append((uses[True].ids, uses[False].ids, seen & ~zero))
    return found
