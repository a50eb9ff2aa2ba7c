"""A pixel shuffle behind a convolution becomes the way in which the convolution stores its result."""

from __future__ import annotations

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.editor import Editor


def store_shuffled(graph: Graph) -> Graph:
    """pixel_shuffle(conv2d(x), 2) → one conv2d with `shuffle` 2, if nothing else reads the convolution."""
    edit = Editor(graph, "store_shuffled")
    for node in graph.nodes:
        if node.op != "pixel_shuffle" or node["factor"] != 2:
            continue
        conv = edit.producer(node.inputs[0])
        if conv is None or conv.op != "conv2d" or conv.epilogue or edit.use_count(conv.name) != 1:
            continue
        if conv["groups"] == 1 and "shuffle" not in conv.attributes:
            attributes = {**conv.attributes, "shuffle": 2}
            edit.put(edit.make(node.name, "conv2d", conv.inputs, attributes, place=conv.place))
    return edit.finish()
