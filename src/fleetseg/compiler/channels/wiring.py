"""Which channels of a network are one and the same, so that they can only go together.

Read off the captured graph (`compiler.capture`), in which sums, concatenations, slices and un-pooling by the encoder's
places are plain operations. Tracing gradients, as pruning libraries do, would not see the last: places are compared,
not differentiated, and the decoder's channels would come apart from the encoder's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.types import ARITHMETIC, UNARY
from fleetseg.compiler.views import pixel_shuffle_steps, sources

Ids = npt.NDArray[np.int64]

#: Operations whose result has the channels of their first operand, each computed from itself alone.
_SAME = frozenset(
    {"max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "resize", "copy", "power", "logical_not"}
    | {"pool_place", "max_pool_index"}
    | (UNARY - {"affine"})
)
#: Operations whose operands must have equal channels.
_TOGETHER = frozenset(ARITHMETIC | {"unpool", "max_unpool", "equal", "logical_and", "logical_or", "where"})


@dataclass(frozen=True)
class Use:
    """A constant of the graph has one entry along `axis` for each channel in `ids`."""

    node: str
    constant: str
    axis: int
    ids: Ids

    #: Whether the channels are what the operation reads (a convolution's inputs), not what it makes.
    reads: bool = False


class Wiring:
    """Channels of every feature map as numbers; `groups` says which of them are one.

    The BatchNorms in `choosing` may read some of the channels before them and leave others: behind them channels are
    new ones, and `chosen` says from which they are made.
    """

    def __init__(self, graph: Graph, choosing: frozenset[str] = frozenset()) -> None:
        self.graph = graph
        self.choosing = choosing
        #: BatchNorm's node → (channels before it, channels behind it).
        self.chosen: dict[str, tuple[Ids, Ids]] = {}
        self.values: dict[str, Ids] = {}
        self.uses: list[Use] = []
        self._parents: list[int] = []
        self._fixed: set[int] = set()
        for name, kind in graph.inputs.items():
            self.values[name] = self._fix(self._new(kind.shape[1]))
        for node in graph.nodes:
            self._read(node)
        for name in graph.outputs:
            self._fix(self.values[name])

    def groups(self, ids: Ids) -> Ids:
        """The group of each channel: a number that all of its channels share."""
        return np.asarray([self._root(int(one)) for one in ids], np.int64)

    def fixed(self) -> set[int]:
        """Groups that must stay: the image's and the logits' channels, and those of operations not known here."""
        return {self._root(one) for one in self._fixed}

    def fix_constants(self, axes: Mapping[str, tuple[int, ...] | None]) -> None:
        """Keep what has an entry along these axes (None: all) of these constants, which no layer can give up."""
        for use in self.uses:
            fixed = axes.get(use.constant, ())
            if fixed is None or use.axis in fixed:
                self._fix(use.ids)

    def fix_values(self, names: Iterable[str]) -> None:
        """Keep all channels of these values (constants among the names are passed over)."""
        for name in names:
            if name in self.values:
                self._fix(self.values[name])

    def settle(self, alive: set[int]) -> set[int]:
        """From now on what BatchNorms choose stays as it is: both sides go together. Gives `alive` anew."""
        for before, behind in self.chosen.values():
            chosen = np.isin(self.groups(behind), sorted(alive))
            self._join(before[chosen], behind[chosen])
        return {self._root(one) for one in alive}

    def _new(self, count: int) -> Ids:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _root(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one

    def _join(self, one: Ids, other: Ids) -> None:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parents[self._root(a)] = self._root(b)

    def _fix(self, ids: Ids) -> Ids:
        self._fixed.update(ids.tolist())
        return ids

    def _use(self, node: Node, position: int, axis: int, ids: Ids, reads: bool = False) -> None:
        if position < len(node.inputs) and node.inputs[position] in self.graph.constants:
            constant = node.inputs[position]
            for use in self.uses:
                if use.constant == constant and use.axis == axis:  # a layer that runs twice
                    self._join(use.ids, ids)
            self.uses.append(Use(node.name, constant, axis, ids, reads))

    def _read(self, node: Node) -> None:
        special = _SPECIAL.get(node.op)
        maps = [name for name in node.inputs if name in self.values]
        if special is not None and maps:
            self.values[node.name] = special(self, node)
        elif node.op in _SAME and maps:
            ids = self.values[maps[0]]
            if node.name in self.choosing:
                self.chosen[node.name] = ids, self._new(len(ids))
                ids = self.chosen[node.name][1]
            for position in range(1, len(node.inputs)):
                if self.graph.type_of(node.inputs[position]).shape == ids.shape:
                    self._use(node, position, 0, ids)
            self.values[node.name] = ids
        else:
            self.values[node.name] = self._unknown(node)

    def _unknown(self, node: Node) -> Ids:
        for name in node.inputs:
            if name in self.values:
                self._fix(self.values[name])
        shape = node.type.shape
        return self._fix(self._new(shape[1] if len(shape) > 1 else 1))


def _conv(wiring: Wiring, node: Node) -> Ids:
    ids, groups = wiring.values[node.inputs[0]], node["groups"]
    transposed = node.op == "conv_transpose2d"
    if groups == 1:
        made = wiring._new(node.type.shape[1])
        wiring._use(node, 1, 0 if transposed else 1, ids, reads=True)
        wiring._use(node, 1, 1 if transposed else 0, made)
    elif groups == len(ids) == node.type.shape[1]:
        made = ids
        wiring._use(node, 1, 0, ids)
    else:
        return wiring._unknown(node)
    wiring._use(node, 2, 0, made)
    return made


def _together(wiring: Wiring, node: Node) -> Ids:
    maps = [wiring.values[name] for name in node.inputs if name in wiring.values]
    constants = [name for name in node.inputs if name in wiring.graph.constants]
    single = all(wiring.graph.constants[name].size == 1 for name in constants)
    if not single or len({len(ids) for ids in maps}) > 1:
        return wiring._unknown(node)
    for other in maps[1:]:
        wiring._join(maps[0], other)
    return maps[0]


def _concat(wiring: Wiring, node: Node) -> Ids:
    if any(name not in wiring.values for name in node.inputs):
        return wiring._unknown(node)
    if node["axis"] != 1:
        return _together(wiring, node)
    return np.concatenate([wiring.values[name] for name in node.inputs])


def _slice(wiring: Wiring, node: Node) -> Ids:
    ids = wiring.values[node.inputs[0]]
    return ids[node["start"] : node["stop"] : node["step"]] if node["axis"] == 1 else ids


def _pad(wiring: Wiring, node: Node) -> Ids:
    before, after = node["amounts"][1]
    ids = wiring.values[node.inputs[0]]
    return np.concatenate([wiring._new(before), ids, wiring._new(after)])


def _moved(wiring: Wiring, node: Node) -> Ids:
    """A rearrangement: channels whose elements end in one channel go together."""
    shape, result = wiring.graph.type_of(node.inputs[0]).shape, node.type.shape
    if len(shape) != 4 or len(result) != 4:
        return wiring._unknown(node)
    if node.op == "reshape":
        steps: tuple[tuple[object, ...], ...] = (("reshape", result),)
    elif node.op == "pixel_shuffle":
        steps = pixel_shuffle_steps(shape, node["factor"], node["factor"])
    else:
        steps = node["steps"]
    channels = sources(shape, steps) // (shape[2] * shape[3]) % shape[1]
    ids, made = wiring.values[node.inputs[0]], []
    for plane in channels[0]:
        found = ids[np.unique(plane)]
        wiring._join(found[1:], np.full(len(found) - 1, found[0]))
        made.append(found[0])
    return np.asarray(made, np.int64)


_SPECIAL: Mapping[str, Callable[[Wiring, Node], Ids]] = {
    "conv2d": _conv,
    "conv_transpose2d": _conv,
    **dict.fromkeys(sorted(_TOGETHER), _together),
    "concat": _concat,
    "slice": _slice,
    "pad": _pad,
    "rearrange": _moved,
    "reshape": _moved,
    "pixel_shuffle": _moved,
}
