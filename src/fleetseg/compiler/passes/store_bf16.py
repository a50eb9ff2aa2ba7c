"""Feature maps and weights are kept in bf16 wherever the kernels on both sides can; sums stay in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from fleetseg.compiler.ir import Array, ElementType, Graph, Node, Step, TensorType
from fleetseg.compiler.pairs import CHANNEL_BY_CHANNEL, Places, parts_of, places_of_pairs, round_to_bf16
from fleetseg.compiler.verify import verify


def store_bf16(graph: Graph) -> Graph:
    """Give values the element "bf16", round the weights of convolutions, and put casts where kernels need float32.

    The logits stay in float32, and so does everything around an operation without a kernel over pairs.
    """
    return verify(_Casts(_retyped(graph)).finish(), "store_bf16")


def reads_pairs(node: Node) -> bool:
    """Whether the node has a kernel over pairs of channels."""
    if node.op == "conv2d":
        return bool(node["groups"] == 1)
    if node.op == "max_pool":
        return not any(node["padding"]) and node.attributes.get("dilation", (1, 1)) == (1, 1)
    if node.op == "avg_pool":
        return not any(node["padding"]) or bool(node.attributes.get("count_padding"))
    return node.op in ("pyramid", "copy", "pool_place")


def _retyped(graph: Graph) -> Graph:
    """Every value that its kernel can store in bf16 is, whoever reads it."""
    constants: dict[str, Array] = dict(graph.constants)
    nodes = []
    for node in graph.nodes:
        if node.op in ("conv2d", "pyramid") and reads_pairs(node):
            for name in node.inputs[1:2] if node.op == "conv2d" else node.inputs[1:]:
                constants[name] = round_to_bf16(constants[name])
        nodes.append(_stored(node) if _stores_pairs(graph, node) else node)
    inputs = {
        name: TensorType(value.shape, "bf16") if any(reads_pairs(user) for user in graph.users(name)) else value
        for name, value in graph.inputs.items()
    }
    return Graph(inputs, constants, tuple(nodes), graph.outputs)


def _stored(node: Node) -> Node:
    # What a concat holds follows from its parts.
    changed = node if node.op == "concat" else node.with_attributes(stored="bf16")
    return replace(changed, type=TensorType(node.type.shape, "bf16"))


def _stores_pairs(graph: Graph, node: Node) -> bool:
    if node.name in graph.outputs or node.type.element != "f32":
        return False
    if node.op == "concat":
        return bool(node["axis"] == 1)
    return reads_pairs(node) and _limits_are_even(graph, node)


def _limits_are_even(graph: Graph, node: Node) -> bool:
    """Whether no step begins or ends between the two channels of a pair."""
    if node.op in CHANNEL_BY_CHANNEL:
        return not any(step.channels for step in node.epilogue)
    allowed, first = {0}, 0
    for size in parts_of(graph, node):
        allowed |= {*range(first, first + size, 2), first + size}
        first += size
    return all(limit in allowed for step in node.epilogue for limit in step.channels or ())


class _Casts:
    """Builds the graph anew, with a cast before each reader that needs a value in its other element."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._places = places_of_pairs(graph)
        self._nodes: dict[str, Node] = {}

    def finish(self) -> Graph:
        graph = self._graph
        for node in graph.nodes:
            inputs = tuple(self._read(name, self._wanted(node), node.place) for name in node.inputs)
            steps = tuple(self._step(node, step) for step in node.epilogue)
            self._nodes[node.name] = replace(node, inputs=inputs, epilogue=steps)
        return Graph(graph.inputs, graph.constants, tuple(self._nodes.values()), graph.outputs)

    def _wanted(self, node: Node) -> ElementType:
        """The element in which the node reads its maps."""
        if node.op == "concat":
            return node.type.element
        if node.op == "copy":  # takes either
            return self._graph.type_of(node.inputs[0]).element
        return "bf16" if reads_pairs(node) else "f32"

    def _read(self, name: str, element: ElementType, place: str) -> str:
        """The value in that element: itself, or a cast."""
        if name in self._graph.constants or {self._graph.type_of(name).element, element} != {"f32", "bf16"}:
            return name
        cast = f"{name}_as_{element}"
        if cast not in self._nodes:
            value = TensorType(self._graph.type_of(name).shape, element)
            self._nodes[cast] = Node(cast, "copy", (name,), value, MappingProxyType({"stored": element}), place=place)
        return cast

    def _step(self, node: Node, step: Step) -> Step:
        """The step with operands that the node's kernel can read: pairs that lie as its own do, or float32."""
        operands = [
            name if _lies_alike(node, step, name, self._places) else self._read(name, "f32", node.place)
            for name in step.operands
        ]
        return replace(step, operands=tuple(operands))


def _lies_alike(node: Node, step: Step, operand: str, places: Mapping[str, Places]) -> bool:
    if operand not in places or node.name not in places:
        return False
    first, last = step.channels or (0, node.type.shape[1])
    own, other = places[node.name][first:last], places[operand]
    return len(own) == len(other) and all(a - own[0] == b for a, b in zip(own, other, strict=True))
