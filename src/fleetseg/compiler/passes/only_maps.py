"""Every value becomes a feature map (1, C, H, W), whatever its rank in PyTorch.

Of more axes the leading ones join into the channels, of fewer the missing ones are of size one. Reshapes, permutations
and slices become `rearrange` between maps, chains of them one, and those that move nothing vanish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fleetseg.compiler.ir import Array, Graph, Node, TensorType, constant_type
from fleetseg.compiler.types import ARITHMETIC, UNARY, infer
from fleetseg.compiler.verify import verify
from fleetseg.compiler.views import ViewStep, sources
from fleetseg.errors import CompileError

Shape = tuple[int, ...]


def only_maps(graph: Graph) -> Graph:
    """The graph over maps alone; `CompileError` names an operation that has no meaning on them."""
    build = _Builder(graph)
    for node in graph.nodes:
        _convert(build, node)
    # Kept: every node that still has a use.
    outputs = tuple(build.names.get(name, name) for name in graph.outputs)
    needed, kept = set(outputs), []
    for made in reversed(build.nodes):
        if made.name in needed:
            kept.append(made)
            needed.update(made.uses)
    constants = {name: array for name, array in build.constants.items() if name in needed}
    return verify(Graph(graph.inputs, constants, tuple(reversed(kept)), outputs), "only_maps")


def map_shape(shape: Sequence[int]) -> Shape:
    """The map as which a tensor of that shape is kept."""
    if len(shape) > 3:
        return (1, math.prod(shape[:-2]), *shape[-2:])
    if len(shape) == 3:
        return (1, shape[0] * shape[1], 1, shape[2])
    return (1, math.prod(shape), 1, 1)


def _leading(shape: Sequence[int]) -> int:
    """How many axes join into the channels."""
    return len(shape) - 2 if len(shape) > 3 else min(len(shape), 2)


class _Builder:
    """The new graph; `names` says what an old value is called where it is another one's, moved by nothing."""

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = dict(graph.constants)
        self.types: dict[str, TensorType] = dict(graph.inputs)
        self.names: dict[str, str] = {}
        self._made: dict[str, Node] = {}

    def shape(self, name: str) -> Shape:
        """The shape of an old value."""
        return self.old.type_of(name).shape

    def type_of(self, name: str) -> TensorType:
        """The type of a new value or a constant."""
        return constant_type(self.constants[name]) if name in self.constants else self.types[name]

    def value(self, name: str) -> str:
        """What the old value is called now."""
        return self.names.get(name, name)

    def constant(self, array: Array, name: str) -> str:
        """Keep an array under a name like `name`."""
        while name in self.constants or name in self.types:
            name += "_"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def add(self, name: str, op: str, inputs: Sequence[str], place: str, **attributes: Any) -> str:
        """Append a node."""
        while name in self._made or name in self.constants:
            name += "_"
        result = infer(op, [self.type_of(value) for value in inputs], attributes)
        node = Node(name, op, tuple(inputs), result, MappingProxyType(attributes), place=place)
        self.nodes.append(node)
        self._made[name], self.types[name] = node, result
        return name

    def rearrange(self, name: str, value: str, steps: Sequence[ViewStep], place: str) -> str:
        """Append a node from the map `value`, joined with the chain before it; or nothing if nothing moves."""
        before = self._made.get(value)
        if before is not None and before.op == "rearrange":
            value, steps = before.inputs[0], (*before["steps"], *steps)
        shape = self.type_of(value).shape
        moved = sources(shape, steps)
        if moved.shape == shape and np.array_equal(moved.ravel(), np.arange(moved.size)):
            return value
        return self.add(name, "rearrange", [value], place, steps=tuple(steps))


def _convert(build: _Builder, node: Node) -> None:
    shape = node.type.shape
    operands = [build.shape(name) for name in node.inputs if name not in build.old.constants]
    maps = all(len(s) == 4 and s[0] == 1 for s in (*operands, shape))
    if node.op in ("reshape", "slice", "rearrange"):
        _rearrange(build, node)
    elif node.op == "concat":
        _concat(build, node)
    elif node.op in ARITHMETIC:
        _arithmetic(build, node)
    elif maps:
        build.add(node.name, node.op, [build.value(name) for name in node.inputs], node.place, **node.attributes)
    elif node.op in UNARY:
        _unary(build, node)
    elif node.op == "pad":
        _pad(build, node)
    else:
        raise CompileError(f"operation '{node.op}' at {node.place} of {build.old.type_of(node.inputs[0])} has no C yet")


def _rename(build: _Builder, node: Node, value: str) -> None:
    if value != node.name:
        build.names[node.name] = value


def _rearrange(build: _Builder, node: Node) -> None:
    if node.op == "reshape":
        steps: tuple[ViewStep, ...] = (("reshape", node["shape"]),)
    elif node.op == "slice":
        steps = (("slice", node["axis"], node["start"], node["stop"], node["step"]),)
    else:
        steps = node["steps"]
    whole = (("reshape", build.shape(node.inputs[0])), *steps, ("reshape", map_shape(node.type.shape)))
    _rename(build, node, build.rearrange(node.name, build.value(node.inputs[0]), whole, node.place))


def _concat(build: _Builder, node: Node) -> None:
    axis, shape = node["axis"], node.type.shape
    for name in node.inputs:
        if name in build.constants:
            raise CompileError(f"operation 'concat' at {node.place} with a constant has no C yet")
    parts = [build.value(name) for name in node.inputs]
    leading = _leading(shape)
    if axis >= leading or math.prod(shape[:axis]) == 1:
        op, at = ("concat", 1) if axis < leading else ("join", 3 - (len(shape) - 1 - axis))
        build.add(node.name, op, parts, node.place, axis=at)
        return
    # The joined axis comes first, and goes back afterwards.
    order = (axis, *(other for other in range(len(shape)) if other != axis))
    rest = math.prod(shape) // shape[axis]
    moved = [
        build.rearrange(
            f"{node.name}_part{index}",
            part,
            (("reshape", own := build.shape(name)), ("permute", order), ("reshape", (1, own[axis], 1, rest))),
            node.place,
        )
        for index, (part, name) in enumerate(zip(parts, node.inputs, strict=True))
    ]
    joined = build.add(f"{node.name}_joined", "concat", moved, node.place, axis=1)
    back = tuple(int(i) for i in np.argsort(order))
    steps = (("reshape", tuple(shape[i] for i in order)), ("permute", back), ("reshape", map_shape(shape)))
    _rename(build, node, build.rearrange(node.name, joined, steps, node.place))


def _arithmetic(build: _Builder, node: Node) -> None:
    inputs = [_operand(build, node, name, index) for index, name in enumerate(node.inputs)]
    build.add(node.name, node.op, inputs, node.place)


def _operand(build: _Builder, node: Node, name: str, index: int) -> str:
    """The operand as a map whose axes of size one go together with the result's."""
    result = node.type.shape
    own = build.shape(name)
    full = (1,) * (len(result) - len(own)) + tuple(own)
    leading = _leading(result)
    steps: list[ViewStep] = [("reshape", full)]
    if full[:leading] != result[:leading] and math.prod(full[:leading]) != 1:
        full = (*result[:leading], *full[leading:])
        steps.append(("expand", full))
    # Of the other axes each stands where the result's does.
    steps.append(("reshape", (1, math.prod(full[:leading]), *(1,) * (2 - len(full[leading:])), *full[leading:])))
    if name in build.constants:
        array = build.constants[name]
        for kind, shape in steps:
            array = array.reshape(shape) if kind == "reshape" else np.broadcast_to(array, shape)
        return build.constant(array, f"{node.name}_constant{index}")
    value = build.value(name)
    whole = (("reshape", own), *steps)
    return build.rearrange(f"{node.name}_operand{index}", value, whole, node.place)


def _unary(build: _Builder, node: Node) -> None:
    shape = build.shape(node.inputs[0])
    leading = shape[: _leading(shape)]
    parameters = []
    for name in node.inputs[1:]:
        array = build.constants[name]
        if array.size > 1:
            wide = np.broadcast_to(array.reshape(1, -1, *(1,) * (len(leading) - 2)), leading)
            name = build.constant(wide.ravel(), f"{name}_wide")
        parameters.append(name)
    build.add(node.name, node.op, [build.value(node.inputs[0]), *parameters], node.place, **node.attributes)


def _pad(build: _Builder, node: Node) -> None:
    shape, amounts = build.shape(node.inputs[0]), node["amounts"]
    leading = _leading(shape)
    joined = [pair for pair, size in zip(amounts[:leading], shape, strict=False) if size > 1 or any(pair)]
    if any(map(any, joined)) and len(joined) > 1:
        raise CompileError(f"operation 'pad' at {node.place} of {build.old.type_of(node.inputs[0])} has no C yet")
    spatial = ((0, 0),) * (2 - len(amounts[leading:])) + tuple(amounts[leading:])
    first = joined[0] if joined else (0, 0)
    value = build.value(node.inputs[0])
    build.add(node.name, "pad", [value], node.place, amounts=((0, 0), first, *spatial))
