"""An ONNX graph with integer maps and weights, as ONNX Runtime's integer kernels want it.

Operations that compute (convolution, sum, mean, joining of maps with different scales) stand between
DequantizeLinear and QuantizeLinear, which the runtime fuses into one integer kernel. Operations that only move or
compare values (maximum, pooling, cutting, un-pooling) work on the integers themselves; what they read and make shares
one scale.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetseg.quantise.onnx_graph import OnnxGraph, float_array
from fleetseg.quantise.onnx_plan import MOVING, Plan
from fleetseg.quantise.onnx_ranges import Ranges

#: Weights from −127 to 127, one scale an output channel; maps from 0 to 255.
_LARGEST_WEIGHT, _LEVELS = 127, 255


@dataclass(frozen=True)
class Scale:
    """How a map's integers q stand for its values: (q − zero) · step."""

    step: np.float32
    zero: np.uint8

    @classmethod
    def of(cls, least: float, largest: float) -> Scale:
        """From the range, which is widened to hold 0: padding must be exact."""
        least, largest = min(least, 0.0), max(largest, 0.0)
        step = np.float32(max((largest - least) / _LEVELS, 1e-12))
        return cls(step, np.uint8(np.clip(round(-least / float(step)), 0, _LEVELS)))


def quantised(model: Any, ranges: Ranges, float_layers: Collection[str] = ()) -> Any:
    """A copy of a prepared model with integer maps and weights; `float_layers` keep theirs."""
    graph = OnnxGraph(copy.deepcopy(model))
    return _Writer(graph, Plan(graph, float_layers), ranges).write()


class _Writer:
    """Writes the nodes anew. A map t that an integer node makes is there as ``t:q`` and, dequantised, as ``t``; of one
    that a float node makes, ``t`` stays as it is and ``t:dq`` is what integer nodes read.
    """

    def __init__(self, graph: OnnxGraph, plan: Plan, ranges: Ranges) -> None:
        self._graph, self._plan = graph, plan
        self._scales = _shared_scales(graph, plan, ranges)
        self._made: set[str] = set()
        self._nodes: list[Any] = []

    def write(self) -> Any:
        graph = self._graph
        for name in graph.inputs:
            self._quantise(name, f"{name}:dq")
        for node in graph.nodes:
            if not self._plan.integer[id(node)]:
                self._keep_float(node)
                self._nodes.append(node)
                for name in node.output:
                    self._quantise(name, f"{name}:dq")
            elif node.op_type in MOVING:
                self._move(node)
            else:
                self._compute(node)
        graph.nodes = _read_ones(self._nodes, graph.outputs)
        return graph.finish()

    def _keep_float(self, node: Any) -> None:
        """ONNX Runtime quantises a float convolution's weights itself where it stands between integer maps.

        Cutting off what is outside the range of the integers, which is nothing, keeps it from that.
        """
        name = node.input[0]
        if node.op_type != "Conv" or name not in self._made:
            return
        scale = self._scales[name]
        ends = ((level - int(scale.zero)) * scale.step for level in (0, _LEVELS))
        bounds = [self._graph.constant(np.asarray(end, np.float32), name) for end in ends]
        cut = f"{node.output[0]}:source"
        self._nodes.append(self._graph.node("Clip", [name, *bounds], cut))
        node.input[0] = cut

    def _compute(self, node: Any) -> None:
        output = node.output[0]
        if node.op_type == "Relu":
            # Absorbed: what comes before it is cut off at the integers' 0.
            self._quantise(output, output, raw=f"{node.input[0]}:raw")
            return
        maps = set(self._plan.maps_of(node))
        inputs = [self._float_form(name) if name in maps else name for name in node.input]
        if node.op_type == "Conv":
            inputs[1:] = self._weights(node)
        del node.input[:]
        node.input.extend(inputs)
        node.output[0] = f"{output}:raw"
        self._nodes.append(node)
        if output not in self._plan.absorbed:
            self._quantise(output, output, raw=f"{output}:raw")

    def _move(self, node: Any) -> None:
        maps, output = set(self._plan.maps_of(node)), node.output[0]
        scale = self._scales[next(name for name in node.input if name in maps)]
        inputs = [f"{name}:q" if name in maps else self._same_scale(node, name, scale) for name in node.input]
        if node.op_type == "Pad" and len(inputs) == 2:
            inputs.append(self._graph.constant(np.asarray(scale.zero), output))
        elif node.op_type == "Pad":
            inputs[2] = self._graph.constant(np.asarray(scale.zero), output)
        del node.input[:]
        node.input.extend(inputs)
        self._nodes.append(node)
        if output in self._plan.quantised:
            node.output[0] = f"{output}:q"
            self._dequantise(output, output)

    def _same_scale(self, node: Any, name: str, scale: Scale) -> str:
        value = self._graph.constants.get(name)
        if value is None or value.dtype != np.float32 or node.op_type not in ("Max", "Where", "Equal"):
            return name
        levels = np.clip(np.round(value / scale.step) + scale.zero, 0, _LEVELS).astype(np.uint8)
        return self._graph.constant(levels, name)

    def _float_form(self, name: str) -> str:
        return name if name in self._made else f"{name}:dq"

    def _quantise(self, name: str, dequantised: str, raw: str | None = None) -> None:
        if name not in self._plan.quantised:
            return
        scale = self._scales[name]
        parameters = [self._graph.constant(np.asarray(value), name) for value in (scale.step, scale.zero)]
        self._nodes.append(self._graph.node("QuantizeLinear", [raw or name, *parameters], f"{name}:q"))
        self._dequantise(name, dequantised)

    def _dequantise(self, name: str, output: str) -> None:
        scale = self._scales[name]
        parameters = [self._graph.constant(np.asarray(value), name) for value in (scale.step, scale.zero)]
        self._nodes.append(self._graph.node("DequantizeLinear", [f"{name}:q", *parameters], output))
        if output == name:
            self._made.add(name)

    def _weights(self, node: Any) -> list[str]:
        """Names of the dequantised weight and, if there is one, bias."""
        graph, source = self._graph, float(self._scales[node.input[0]].step)
        weight = float_array(graph.constants[node.input[1]])
        bias = float_array(graph.constants[node.input[2]]) if len(node.input) > 2 else None
        step = np.abs(weight).max(axis=(1, 2, 3)) / _LARGEST_WEIGHT
        if bias is not None:  # which must fit into 32 bits
            step = np.maximum(step, np.abs(bias) / (source * 2**30))
        step = np.where(step > 0, step, 1).astype(np.float32)
        levels = np.clip(np.round(weight / step[:, None, None, None]), -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
        names = [self._constant(levels.astype(np.int8), step, node.input[1])]
        if bias is not None:
            step = (step * np.float32(source)).astype(np.float32)
            names.append(self._constant(np.round(bias / step).astype(np.int32), step, node.input[2]))
        return names

    def _constant(self, levels: Any, step: Any, like: str) -> str:
        inputs = [self._graph.constant(value, like) for value in (levels, step, np.zeros_like(step, levels.dtype))]
        output = f"{inputs[0]}:dq"
        self._nodes.append(self._graph.node("DequantizeLinear", inputs, output, axis=0))
        return output


def _shared_scales(graph: OnnxGraph, plan: Plan, ranges: Ranges) -> dict[str, Scale]:
    """One scale for all maps that moving operations tie together."""
    group = {name: name for name in plan.quantised}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for node in graph.nodes:
        if plan.integer[id(node)] and node.op_type in MOVING:
            tied = [*plan.maps_of(node), *(name for name in node.output if name in plan.quantised)]
            for name in tied[1:]:
                group[root(name)] = root(tied[0])
    joined: dict[str, tuple[float, float]] = {}
    for name in plan.quantised:
        least, largest = joined.get(root(name), (0.0, 0.0))
        joined[root(name)] = (min(least, ranges[name][0]), max(largest, ranges[name][1]))
    return {name: Scale.of(*joined[root(name)]) for name in plan.quantised}


def _read_ones(nodes: list[Any], outputs: tuple[str, ...]) -> list[Any]:
    """Without nodes whose results nobody reads."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if read.intersection(node.output):
            read.update(node.input)
            kept.append(node)
    return kept[::-1]
