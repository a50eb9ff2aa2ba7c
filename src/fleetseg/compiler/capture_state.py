"""The graph while it is captured, and how torch's arguments are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fleetseg.compiler.interpret import evaluate
from fleetseg.compiler.ir import Array, Node, TensorType, constant_type
from fleetseg.compiler.types import TypeMismatchError, infer
from fleetseg.compiler.views import ViewStep


class UnsupportedOperationError(Exception):
    """A known operation with arguments that the compiler does not support."""


@dataclass
class Capture:
    """The graph under construction. `values` maps what torch calls a node to the name of its value here."""

    inputs: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[Any, Any] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    place: str = ""

    def constant(self, array: Array, name: str) -> str:
        """Keep an array under `name` (or a name like it); floats become float32, whole numbers int32."""
        if array.dtype.kind in "fi":
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        while name in self.constants or name in self.types:
            name += "_"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def type_of(self, name: str) -> TensorType:
        """The type of a value of the graph so far."""
        if name in self.inputs:
            return self.inputs[name]
        return constant_type(self.constants[name]) if name in self.constants else self.types[name]

    def add(self, fx_node: Any, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node named after torch's; `UnsupportedOperationError` for operands that do not fit."""
        name = fx_node if isinstance(fx_node, str) else str(fx_node.name)
        while name in self.types or name in self.inputs or name in self.constants:
            name += "_"
        try:
            result = infer(op, [self.type_of(value) for value in inputs], attributes)
        except TypeMismatchError as error:
            raise UnsupportedOperationError(str(error)) from error
        node = Node(name, op, tuple(inputs), result, MappingProxyType(attributes), place=self.place)
        if all(value in self.constants for value in inputs):
            # Arithmetic on weights alone is done here and now.
            return self.constant(evaluate(node, self.constants), name)
        self.nodes.append(node)
        self.types[name] = result
        return name

    def rearrange(self, fx_node: Any, value: str, *steps: ViewStep) -> str:
        """Append a node that moves elements about and computes nothing."""
        return self.add(fx_node, "rearrange", [value], steps=tuple(steps))

    def operand(self, node: Any, position: int) -> str:
        """The value that stands at a position of torch's arguments."""
        value = self.values[node.args[position]]
        if not isinstance(value, str):
            raise UnsupportedOperationError("an operand that is no single tensor")
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value of the graph so far."""
        return self.type_of(name).shape

    def argument(self, node: Any, position: int, name: str, default: Any) -> Any:
        """A plain argument, given by position, by name or not at all."""
        if len(node.args) > position:
            return node.args[position]
        return node.kwargs.get(name, default)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """torch lets one number stand for two."""
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))
