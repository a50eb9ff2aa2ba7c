"""Small graphs by hand, and what passes are judged by: how often they acted, and equal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.ir import Array, Graph, Node, TensorType, constant_type
from fleetseg.compiler.types import infer
from fleetseg.compiler.verify import verify

SAME_SIZE = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
POINTWISE = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}


class GraphBuilder:
    """Nodes one after the other; the image is called "x"."""

    def __init__(self, channels: int = 3, height: int = 6, width: int = 8) -> None:
        self.types = {"x": TensorType((1, channels, height, width))}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []
        self.random = np.random.default_rng(7)

    def constant(self, *shape: int, positive: bool = False) -> str:
        name = f"c{len(self.constants)}"
        values = self.random.uniform(0.5, 1.5, shape) if positive else self.random.normal(size=shape)
        self.constants[name] = values.astype(np.float32)
        self.types[name] = constant_type(self.constants[name])
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}{len(self.nodes)}"
        result = infer(op, [self.types[value] for value in inputs], attributes)
        self.nodes.append(Node(name, op, inputs, result, MappingProxyType(attributes), place=f"layer {name}"))
        self.types[name] = result
        return name

    def conv(self, value: str, out: int, kernel: int = 3, window: Mapping[str, Any] = SAME_SIZE) -> str:
        weight = self.constant(out, self.types[value].shape[1] // window["groups"], kernel, kernel)
        return self.add("conv2d", value, weight, **window)

    def batch_norm(self, value: str) -> str:
        channels = self.types[value].shape[1]
        values = [self.constant(channels) for _ in range(3)]
        return self.add("batch_norm", value, *values, self.constant(channels, positive=True), eps=1e-3)

    def graph(self, *outputs: str) -> Graph:
        return verify(Graph({"x": self.types["x"]}, self.constants, tuple(self.nodes), outputs))


def run(graph: Graph, seed: int = 0, pad_to: Graph | None = None) -> Array:
    """The first output for a random image (of the size of `pad_to`'s input, zero-padded to this graph's)."""
    shape = (pad_to or graph).inputs["x"].shape
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    # Ties are where pooling and un-pooling go wrong.
    image = np.maximum(np.round(image * 2) / 2, 0).astype(np.float32)
    full = np.zeros(graph.inputs["x"].shape, np.float32)
    full[:, :, : shape[2], : shape[3]] = image
    return interpret(graph, {"x": full})[0]


def assert_same_numbers(before: Graph, after: Graph) -> None:
    expected = run(before)
    np.testing.assert_allclose(run(after), expected, atol=2e-5 * max(1.0, float(np.abs(expected).max())))
