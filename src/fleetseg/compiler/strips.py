"""Large maps strip by strip: kernels that follow each other take turns, so that what one writes the next still finds in
the cache, and only the rows that somebody still needs are kept.

A group is a run of kernels. For each strip of its last one, every kernel goes on as far as the kernels behind it need.
A map that only the group touches becomes a ring of rows: row y lies where row y - ring lay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.memory import ELEMENT_BYTES, homes_of
from fleetseg.compiler.rows import Rows, grid_rows, rows_read, rows_written, works_row_by_row

#: Rows of a group's last kernel that make a strip: a few for every thread, each worth more than a barrier.
STRIP = 8


@dataclass(frozen=True)
class Turn:
    """A kernel's rows [first, last) of its grid."""

    node: str
    first: int
    last: int


@dataclass(frozen=True)
class Group:
    """Kernels that take turns."""

    nodes: tuple[str, ...]
    turns: tuple[Turn, ...]
    #: Buffer → how many rows of it are kept.
    rings: Mapping[str, int]


def plan_strips(graph: Graph, cache_bytes: int) -> tuple[Group, ...]:
    """Groups of neighbouring kernels whose rings fit into the cache together; the longest, from the front."""
    planner = _Planner(graph)
    groups: list[Group] = []
    current: Group | None = None
    for node in graph.nodes:
        if node.op == "concat":
            continue
        if not works_row_by_row(node):
            groups, current = [*groups, *_worthwhile(current)], None
            continue
        longer = planner.group([*(current.nodes if current else ()), node.name])
        if current is not None and planner.bytes_of(longer) > cache_bytes:
            groups += _worthwhile(current)
            longer = planner.group([node.name])
        current = longer
    return (*groups, *_worthwhile(current))


def _worthwhile(group: Group | None) -> list[Group]:
    return [group] if group is not None and group.rings else []


class _Planner:
    """What is asked again and again while groups grow."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._homes = {name: home for name, (home, _) in homes_of(graph).items()}
        self._makers = {name: self._makers_of(name) for name in self._homes}
        #: Buffer → nodes that write or read it.
        self._touching: dict[str, set[str]] = {}
        for node in graph.nodes:
            if node.op != "concat":
                for name in (node.name, *node.uses):
                    if name in self._homes:
                        self._touching.setdefault(self._homes[name], set()).add(node.name)

    def group(self, names: Sequence[str]) -> Group:
        """The turns and rings of a group."""
        nodes = [self._graph.node(name) for name in names]
        turns = self._turns(nodes)
        return Group(tuple(names), tuple(turns), self._rings(set(names), turns))

    def bytes_of(self, group: Group) -> int:
        """Size of the group's rings, margins not counted."""
        return sum(rows * self._row_bytes(home) for home, rows in group.rings.items())

    def _turns(self, nodes: Sequence[Node]) -> list[Turn]:
        height = grid_rows(nodes[-1])
        done = dict.fromkeys((node.name for node in nodes), 0)
        turns: list[Turn] = []
        for end in range(STRIP, height + STRIP, STRIP):
            targets = self._targets(nodes, min(end, height), height)
            for node in nodes:
                if targets[node.name] > done[node.name]:
                    turns.append(Turn(node.name, done[node.name], targets[node.name]))
                    done[node.name] = targets[node.name]
        return turns

    def _targets(self, nodes: Sequence[Node], end: int, height: int) -> dict[str, int]:
        """How far each kernel has to be: its share of the height, or what the kernels behind it read."""
        targets = {node.name: -(-grid_rows(node) * end // height) for node in nodes}
        for node in reversed(nodes):
            for value, (_, last) in rows_read(self._graph, node, (0, targets[node.name])).items():
                for maker in self._makers.get(value, ()):
                    if maker in targets:
                        factor = rows_written(self._graph.node(maker), (0, 1))[1]
                        targets[maker] = max(targets[maker], -(-last // factor))
        return targets

    def _rings(self, names: set[str], turns: Sequence[Turn]) -> dict[str, int]:
        needed: dict[str, int] = {}
        rings: dict[str, int] = {}
        # Backwards, so that `needed` holds the first row that a later turn reads.
        for turn in reversed(turns):
            node = self._graph.node(turn.node)
            home = self._homes.get(node.name)
            if home in needed:
                rows = rows_written(node, (turn.first, turn.last))[1] - needed[home]
                rings[home] = max(rings.get(home, 0), rows)
            for value, (first, _) in self._reads(turn).items():
                own = self._homes[value]
                needed[own] = min(needed.get(own, first), first)
        return {home: rows for home, rows in rings.items() if self._may_be_ring(home, names, rows)}

    def _reads(self, turn: Turn) -> Mapping[str, Rows]:
        return rows_read(self._graph, self._graph.node(turn.node), (turn.first, turn.last))

    def _may_be_ring(self, home: str, names: set[str], rows: int) -> bool:
        inside = home not in self._graph.inputs and self._touching[home] <= names
        leaves = any(self._homes.get(name) == home for name in self._graph.outputs)
        return inside and not leaves and rows < self._graph.type_of(home).shape[2]

    def _row_bytes(self, home: str) -> int:
        value = self._graph.type_of(home)
        channels = value.shape[1] // 2 if value.element == "bf16" else value.shape[1]
        return channels * value.shape[3] * ELEMENT_BYTES[value.element]

    def _makers_of(self, name: str) -> tuple[str, ...]:
        """The kernels that write a value."""
        if name in self._graph.inputs:
            return ()
        node = self._graph.node(name)
        if node.op != "concat":
            return (name,)
        return tuple(maker for part in node.inputs for maker in self._makers_of(part))
