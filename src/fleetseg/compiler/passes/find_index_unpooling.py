"""Un-pooling by PyTorch's indices becomes un-pooling by places where windows are 2×2 and side by side.

A place takes a byte where an index takes four, and a sum behind the un-pooling reads through it.
"""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor

_WINDOW = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}


def find_index_unpooling(graph: Graph) -> Graph:
    """max_unpool(v, max_pool_index(x)) → unpool(v, pool_place(x)), where v grows to exactly twice its size."""
    edit = Editor(graph, "find_index_unpooling")
    found: dict[str, str] = {}
    for node in graph.nodes:
        index = edit.producer(node.inputs[1]) if node.op == "max_unpool" else None
        if index is None or not _fits(edit, node, index):
            continue
        if index.name not in found:
            place = edit.make(f"{index.name}_place", "pool_place", index.inputs, place=index.place)
            found[index.name] = edit.insert_before(index.name, place)
        edit.put(edit.make(node.name, "unpool", (node.inputs[0], found[index.name]), place=node.place))
    return edit.finish()


def _fits(edit: Editor, node: Node, index: Node) -> bool:
    size = edit.type_of(index.inputs[0]).shape[2:]
    even = size[0] % 2 == size[1] % 2 == 0
    return index.op == "max_pool_index" and dict(index.attributes) == _WINDOW and even and node["size"] == size
