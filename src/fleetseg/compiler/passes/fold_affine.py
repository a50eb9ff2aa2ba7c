"""A scale and shift behind a convolution move into its weights and bias."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.ir import Array, Graph, Node
from fleetseg.compiler.passes.editor import Editor


def fold_affine(graph: Graph) -> Graph:
    """affine(conv(x)) → conv(x) where nothing else reads the convolution; transposed ones too."""
    edit = Editor(graph, "fold_affine")
    for node in graph.nodes:
        if node.op != "affine":
            continue
        conv = edit.producer(node.inputs[0])
        if conv is None or not _can_take(conv) or edit.use_count(conv.name) != 1:
            continue
        scale, shift = (edit.constants[name].astype(np.float64) for name in node.inputs[1:])
        weight = edit.constants[conv.inputs[1]].astype(np.float64)
        bias = edit.constants[conv.inputs[2]].astype(np.float64) if len(conv.inputs) > 2 else 0.0
        folded = _scaled(conv, weight, scale)
        inputs = (
            conv.inputs[0],
            edit.constant(folded.astype(np.float32), f"{node.name}_weight"),
            edit.constant((bias * scale + shift).astype(np.float32), f"{node.name}_bias"),
        )
        edit.put(edit.make(node.name, conv.op, inputs, conv.attributes, place=conv.place))
    return edit.finish()


def _can_take(conv: Node) -> bool:
    return not conv.epilogue and conv.op in ("conv2d", "conv_transpose2d")


def _scaled(conv: Node, weight: Array, scale: Array) -> Array:
    if conv.op == "conv2d":
        return np.asarray(weight * scale.reshape(-1, 1, 1, 1))
    # (in, out / groups, …): the output channels of a group stand beside its input channels.
    groups = conv["groups"]
    own = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, 1, 1)
    return np.asarray(own.reshape(weight.shape))
