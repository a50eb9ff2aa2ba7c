"""The one way in which passes change a graph: collect edits, then build a new, verified one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fleetseg.compiler.ir import Array, Graph, Node, Step, TensorType, constant_type
from fleetseg.compiler.types import infer
from fleetseg.compiler.verify import verify


class Editor:
    """Edits of one graph. Reads see the edits made so far; `finish` drops what nothing needs any more."""

    def __init__(self, graph: Graph, name: str) -> None:
        """`name` is the pass, for errors."""
        self.name = name
        self._graph = graph
        self.constants: dict[str, Array] = dict(graph.constants)
        self._nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
        self.outputs = graph.outputs
        self._uses: dict[str, int] = {}
        for used in (*(used for node in graph.nodes for used in node.uses), *graph.outputs):
            self._uses[used] = self._uses.get(used, 0) + 1

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes as they are now, in order."""
        return tuple(self._nodes.values())

    def producer(self, name: str) -> Node | None:
        """The node that defines the value; None for inputs and constants."""
        return self._nodes.get(name)

    def use_count(self, name: str) -> int:
        """How often nodes read the value, or the graph gives it out."""
        return self._uses.get(name, 0)

    def type_of(self, name: str) -> TensorType:
        """The type of a value or constant."""
        if name in self._graph.inputs:
            return self._graph.inputs[name]
        return constant_type(self.constants[name]) if name in self.constants else self._nodes[name].type

    def constant(self, array: Array, name: str) -> str:
        """Add a constant under `name` or a name like it."""
        while name in self.constants or name in self._nodes:
            name += "_"
        self.constants[name] = array
        return name

    def make(
        self,
        name: str,
        op: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        epilogue: Sequence[Step] = (),
        place: str = "",
    ) -> Node:
        """A node with its type inferred; it is not part of the graph yet."""
        attributes = MappingProxyType(dict(attributes or {}))
        result = infer(op, [self.type_of(value) for value in inputs], attributes)
        return Node(name, op, tuple(inputs), result, attributes, tuple(epilogue), place)

    def put(self, node: Node) -> None:
        """Replace the node of the same name, at its position."""
        old = self._nodes[node.name]
        self._count(old, -1)
        self._nodes[node.name] = node
        self._count(node, 1)

    def insert_before(self, position: str, node: Node) -> str:
        """Add a node before the one called `position`, under a name that is free; returns that name."""
        name = node.name
        while name in self._nodes or name in self.constants:
            name += "_"
        items = list(self._nodes.items())
        index = list(self._nodes).index(position)
        items.insert(index, (name, replace(node, name=name)))
        self._nodes = dict(items)
        self._count(self._nodes[name], 1)
        return name

    def redirect(self, old: str, new: str) -> None:
        """Let every user of `old` read `new`."""
        for node in self.nodes:
            if old in node.uses:
                self.put(_renamed(node, old, new))
        if old in self.outputs:
            self.outputs = tuple(new if name == old else name for name in self.outputs)
            self._uses[old] -= 1
            self._uses[new] = self._uses.get(new, 0) + 1

    def finish(self) -> Graph:
        """The edited graph without dead nodes and constants; `InvalidGraphError` if an edit broke it."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.name in needed:
                kept.append(node)
                needed.update(node.uses)
        constants = {name: array for name, array in self.constants.items() if name in needed}
        return verify(Graph(self._graph.inputs, constants, tuple(reversed(kept)), self.outputs), self.name)

    def _count(self, node: Node, change: int) -> None:
        for used in node.uses:
            self._uses[used] = self._uses.get(used, 0) + change


def _renamed(node: Node, old: str, new: str) -> Node:
    def swap(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    steps = tuple(replace(step, operands=swap(step.operands)) for step in node.epilogue)
    return replace(node, inputs=swap(node.inputs), epilogue=steps)
