"""BatchNorm with fixed statistics is a scale and a shift a channel."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.editor import Editor


def batch_norm_to_affine(graph: Graph) -> Graph:
    """Every batch_norm becomes an affine; computed in float64, so the rounding is that of the result alone."""
    edit = Editor(graph, "batch_norm_to_affine")
    for node in graph.nodes:
        if node.op != "batch_norm":
            continue
        gamma, beta, mean, variance = (edit.constants[name].astype(np.float64) for name in node.inputs[1:])
        scale = gamma / np.sqrt(variance + node["eps"])
        shift = beta - mean * scale
        names = [
            edit.constant(values.astype(np.float32), f"{node.name}_{kind}")
            for kind, values in (("scale", scale), ("shift", shift))
        ]
        edit.put(edit.make(node.name, "affine", (node.inputs[0], *names), place=node.place))
    return edit.finish()
