"""Which parts of an ONNX graph can work on integers, and which maps then have an integer form."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from fleetseg.quantise.onnx_graph import OnnxGraph, is_depthwise

#: Computed by integer kernels between DequantizeLinear and QuantizeLinear.
COMPUTING = frozenset({"Conv", "Add", "Concat", "AveragePool"})

#: Operation → which of its inputs are maps; done on integers as they are.
MOVING = {
    **dict.fromkeys(("MaxPool", "Slice", "Pad", "DepthToSpace", "Unsqueeze", "Squeeze", "Reshape", "Transpose"), (0,)),
    **dict.fromkeys(("Max", "Equal"), (0, 1)),
    "Where": (1, 2),
}


class Plan:
    """Which nodes work on integers, and which tensors have an integer form."""

    def __init__(self, graph: OnnxGraph, float_layers: Collection[str]) -> None:
        """`float_layers` holds names of convolutions, as `layers` gives them."""
        self.graph = graph
        self._maps = _float_maps(graph)
        self.integer: dict[int, bool] = {}
        self.quantised: set[str] = set()
        #: Maps that only a ReLU reads, which is then where their integers begin.
        self.absorbed: set[str] = set()
        producers, consumers = graph.producers(), graph.consumers()
        # What is done to the image itself is quick in float, and its integers would be coarser than its levels.
        made_by = dict.fromkeys(graph.inputs, False)
        for node in graph.nodes:
            reads = self.maps_of(node)
            known = [made_by[name] for name in reads if name in made_by]
            able = bool(reads) and (node.op_type in COMPUTING or node.op_type in MOVING)
            if node.op_type == "Conv":
                able = able and node.input[1] in graph.constants and node.output[0] not in float_layers
            # What only float maps go into stays float: a float layer's activation, pooling of the image.
            if (node.op_type != "Conv" or _is_pointless(graph, node)) and known and not any(known):
                able = False
            relu_of = producers.get(node.input[0]) if node.op_type == "Relu" else None
            if relu_of is not None and relu_of.op_type in COMPUTING and self.integer[id(relu_of)]:
                able = len(consumers[node.input[0]]) == 1 and node.input[0] not in graph.outputs
                if able:
                    self.absorbed.add(node.input[0])
            self.integer[id(node)] = able
            made_by.update(dict.fromkeys(node.output, able))
            if able:
                self.quantised.update(reads)
                self.quantised.update(name for name in node.output if name in self._maps)
        self.quantised -= self.absorbed

    def maps_of(self, node: Any) -> list[str]:
        """The node's inputs that are maps, not constants, indices or masks."""
        places = MOVING.get(node.op_type, range(len(node.input)))
        return [node.input[place] for place in places if place < len(node.input) and node.input[place] in self._maps]


def layers(model: Any) -> list[str]:
    """The convolutions that may be quantised, by the name of their output, in the graph's order."""
    graph = OnnxGraph(copy.deepcopy(model))
    return [
        node.output[0]
        for node in graph.nodes
        if node.op_type == "Conv" and node.input[1] in graph.constants and not _is_pointless(graph, node)
    ]


def watched_tensors(model: Any) -> list[str]:
    """Maps whose ranges `quantised` needs."""
    return sorted(Plan(OnnxGraph(copy.deepcopy(model)), ()).quantised)


def _is_pointless(graph: OnnxGraph, node: Any) -> bool:
    """Whether a convolution is a factor a channel: a slope, or BatchNorm."""
    weight = graph.constants.get(node.input[1])
    return weight is not None and is_depthwise(node, weight) and weight.shape[2:] == (1, 1)


def _float_maps(graph: OnnxGraph) -> set[str]:
    """Float tensors that depend on the image."""
    from onnx import TensorProto, shape_inference

    model = graph.finish()
    inferred = shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    kinds.update({value.name: value.type.tensor_type.elem_type for value in inferred.output})
    reached = set(graph.inputs)
    for node in graph.nodes:
        if any(name in reached for name in node.input):
            reached.update(node.output)
    return {name for name in reached if kinds.get(name) == TensorProto.FLOAT}
