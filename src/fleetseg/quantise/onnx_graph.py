"""An ONNX graph while it is being changed: names, constants, and who makes and reads a tensor."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class OnnxGraph:
    """The main graph of a model, its constants as arrays."""

    def __init__(self, model: Any) -> None:
        """`model` is changed in place by `finish` alone."""
        from onnx import numpy_helper

        self.model = model
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.inputs = tuple(value.name for value in model.graph.input)
        self.outputs = tuple(value.name for value in model.graph.output)
        self._count = 0

    def consumers(self) -> dict[str, list[Any]]:
        """Tensor → nodes that read it."""
        found: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def producers(self) -> dict[str, Any]:
        """Tensor → the node that makes it; constants and the graph's inputs have none."""
        return {name: node for node in self.nodes for name in node.output}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor → shape, of those whose sides are all known."""
        return {name: shape for name, shape in self._inferred().items() if shape and all(shape)}

    def channel_counts(self) -> dict[str, int]:
        """Tensor of four axes → how many channels it has, where that is known."""
        return {name: shape[1] for name, shape in self._inferred().items() if len(shape) == 4 and shape[1]}

    def _inferred(self) -> dict[str, tuple[int, ...]]:
        """Tensor → shape, 0 where a side is not known."""
        from onnx import shape_inference

        inferred = shape_inference.infer_shapes(self.finish()).graph
        return {
            value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }

    def constant(self, value: Array, like: str) -> str:
        """A new constant, its name taken from `like`."""
        self._count += 1
        name = f"{like}:{self._count:x}"
        self.constants[name] = value
        return name

    def node(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        """A node of one output, not yet in the graph."""
        from onnx import helper

        return helper.make_node(operation, inputs, [output], name=f"{output}:{operation}", **attributes)

    def finish(self) -> Any:
        """The model with the nodes as they are now and the constants that they read; `nodes` are new objects then."""
        from onnx import numpy_helper

        graph = self.model.graph
        read = {name for node in self.nodes for name in node.input} | set(self.outputs)
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in read
        )
        self.nodes = list(graph.node)
        return self.model


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's value."""
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def is_depthwise(node: Any, weight: Array) -> bool:
    """Whether a convolution has one input channel a group."""
    return bool(int(attribute(node, "group", 1)) == weight.shape[0] and weight.shape[1] == 1)


def float_array(value: Array) -> npt.NDArray[np.float32]:
    """As float32."""
    return np.asarray(value, np.float32)
