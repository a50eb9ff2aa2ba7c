"""Which groups of channels a network can best do without."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.channels.wiring import Wiring

#: What stays of a set of like channels is a multiple of this: vector units and their blocks.
MULTIPLE = 4


def unimportant(wiring: Wiring, alive: set[int], share: float) -> set[int]:
    """Of the living groups about `share` of every set that may only shrink together, the least important ones.

    A set is all groups that the same weights have an entry for, such as the 128 channels of a residual stage. A group's
    importance is the mean, over all weights that have an entry for it, of the entry's length in parts of that weight's
    mean: BatchNorm scales as in network slimming (arXiv 1708.06519), filters and what reads them as in DepGraph
    (arXiv 2301.12900).
    """
    lengths, members = _lengths(wiring, alive)
    sets: dict[frozenset[tuple[str, int]], list[int]] = defaultdict(list)
    for group in sorted(alive - wiring.fixed()):
        if members[group]:
            sets[frozenset(members[group])].append(group)
    removed: set[int] = set()
    for groups in sets.values():
        kept = min(len(groups), max(MULTIPLE, MULTIPLE * round((1 - share) * len(groups) / MULTIPLE)))
        ascending = sorted(groups, key=lambda group: float(np.mean(lengths[group])))
        removed.update(ascending[: len(groups) - kept])
    return removed


def _lengths(wiring: Wiring, alive: set[int]) -> tuple[dict[int, list[float]], dict[int, set[tuple[str, int]]]]:
    """Group → the lengths of its entries, and (weight, axis) of each."""
    lengths: dict[int, list[float]] = defaultdict(list)
    members: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for use in wiring.uses:
        entries = _entry_lengths(wiring.graph.constants[use.constant], use.axis)
        groups = wiring.groups(use.ids).tolist()
        mean = float(np.mean([entry for entry, group in zip(entries, groups, strict=True) if group in alive]))
        for entry, group in zip(entries, groups, strict=True):
            members[group].add((use.constant, use.axis))
            if _says_something(wiring, use.node, use.constant):
                lengths[group].append(float(entry) / mean if mean > 0 else 0.0)
    return lengths, members


def _entry_lengths(weight: npt.NDArray[Any], axis: int) -> npt.NDArray[np.float64]:
    moved = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    return np.asarray(np.linalg.norm(moved, axis=1))


def _says_something(wiring: Wiring, node: str, constant: str) -> bool:
    """Weights and BatchNorm's scales; not shifts, statistics and slopes."""
    inputs, op = wiring.graph.by_name[node].inputs, wiring.graph.by_name[node].op
    return op in ("conv2d", "conv_transpose2d", "batch_norm") and constant == inputs[1]
