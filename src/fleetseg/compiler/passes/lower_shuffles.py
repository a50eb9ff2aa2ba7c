"""Pixel shuffles that no convolution stores become rearrangements, and chains of rearrangements one."""

from __future__ import annotations

import numpy as np

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor
from fleetseg.compiler.views import pixel_shuffle_steps, sources


def lower_shuffles(graph: Graph) -> Graph:
    """pixel_shuffle(x) → rearrange(x), rearrange(rearrange(x)) → rearrange(x), and x itself where nothing moves."""
    edit = Editor(graph, "lower_shuffles")
    for node in graph.nodes:
        if node.op == "pixel_shuffle":
            factor = node["factor"]
            steps = pixel_shuffle_steps(edit.type_of(node.inputs[0]).shape, factor, factor)
            edit.put(edit.make(node.name, "rearrange", node.inputs, {"steps": steps}, place=node.place))
        current = edit.producer(node.name)
        if current is not None and current.op == "rearrange":
            _join(edit, current)
    return edit.finish()


def _join(edit: Editor, node: Node) -> None:
    before = edit.producer(node.inputs[0])
    if before is not None and before.op == "rearrange":
        steps = (*before["steps"], *node["steps"])
        node = edit.make(node.name, "rearrange", before.inputs, {"steps": steps}, place=node.place)
        edit.put(node)
    shape = edit.type_of(node.inputs[0]).shape
    moved = sources(shape, node["steps"])
    if moved.shape == shape and np.array_equal(moved.ravel(), np.arange(moved.size)):
        edit.redirect(node.name, node.inputs[0])
