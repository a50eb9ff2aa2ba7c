"""The graph that everything in the compiler reads and rewrites: frozen, in single assignment, batch of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: "u8" holds classes, places of maxima (0–3) and images; arrays of "bf16" are float32 with rounded values.
ElementType = Literal["f32", "u8", "bool", "i32", "bf16"]

NUMPY_TYPES: Mapping[ElementType, Any] = MappingProxyType(
    {"f32": np.float32, "u8": np.uint8, "bool": np.bool_, "i32": np.int32, "bf16": np.float32}
)


@dataclass(frozen=True)
class TensorType:
    """Shape and element type of a value; feature maps are (1, C, H, W)."""

    shape: tuple[int, ...]
    element: ElementType = "f32"

    def __str__(self) -> str:
        return f"{self.element}[{'×'.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Step:
    """One point-wise operation on a kernel's result before it is stored, in the order of `Node.epilogue`.

    `operands` are names of values or constants after the result itself. `channels` limits the step to the result's
    channels [first, last), None means all.
    """

    op: str
    operands: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class Node:
    """One operation; it defines the value `name`.

    `inputs` name values or constants. `place` says where in the captured module it came from.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    type: TensorType
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    epilogue: tuple[Step, ...] = ()
    place: str = ""

    @property
    def uses(self) -> tuple[str, ...]:
        """Every value and constant that the node reads."""
        return self.inputs + tuple(name for step in self.epilogue for name in step.operands)

    def __getitem__(self, key: str) -> Any:
        return self.attributes[key]

    def with_attributes(self, **changes: Any) -> Node:
        """A copy with some attributes changed."""
        return replace(self, attributes=MappingProxyType({**self.attributes, **changes}))


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which every use follows its definition."""

    inputs: Mapping[str, TensorType]
    constants: Mapping[str, Array]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def type_of(self, name: str) -> TensorType:
        """Type of an input, a constant or a node's value; `KeyError` for anything else."""
        if name in self.inputs:
            return self.inputs[name]
        if name in self.constants:
            return constant_type(self.constants[name])
        return self.node(name).type

    def node(self, name: str) -> Node:
        """The node that defines `name`; `KeyError` if none does."""
        return self.by_name[name]

    @property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by the value they define."""
        cached: Mapping[str, Node] | None = self.__dict__.get("_by_name")
        if cached is None:
            cached = {node.name: node for node in self.nodes}
            # The class is frozen for everybody else; a cache changes nothing that can be seen.
            object.__setattr__(self, "_by_name", cached)
        return cached

    def users(self, name: str) -> tuple[Node, ...]:
        """Nodes that read the value."""
        return tuple(node for node in self.nodes if name in node.uses)

    def count(self, op: str) -> int:
        """How many nodes have that operation."""
        return sum(node.op == op for node in self.nodes)

    def lines(self) -> Iterator[str]:
        """The graph as text, a line a node."""
        for name, tensor_type in self.inputs.items():
            yield f"{name}: {tensor_type} = input"
        for node in self.nodes:
            yield describe(self, node)
        yield f"return {', '.join(self.outputs)}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def constant_type(array: Array) -> TensorType:
    """The type of a constant."""
    for element, numpy_type in NUMPY_TYPES.items():
        if array.dtype == numpy_type:
            return TensorType(tuple(array.shape), element)
    raise TypeError(f"constants of type {array.dtype} are not representable")


def describe(graph: Graph, node: Node) -> str:
    """One line: name, type, operation, operands, attributes, epilogue, place."""
    operands = ", ".join(_operand(graph, name) for name in node.inputs)
    attributes = "".join(f" {key}={value}" for key, value in node.attributes.items())
    steps = "".join(f" → {_step(graph, step)}" for step in node.epilogue)
    place = f"  # {node.place}" if node.place else ""
    return f"{node.name}: {node.type} = {node.op}({operands}){attributes}{steps}{place}"


def _operand(graph: Graph, name: str) -> str:
    return str(constant_type(graph.constants[name])) if name in graph.constants else name


def _step(graph: Graph, step: Step) -> str:
    operands = ", ".join(_operand(graph, name) for name in step.operands)
    channels = f"[{step.channels[0]}:{step.channels[1]}]" if step.channels else ""
    return f"{step.op}{channels}({operands})"
