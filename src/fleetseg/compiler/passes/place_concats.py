"""Every part of a concat gets a kernel of its own that can store straight into the joined map."""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor

#: Values that do not lie where a kernel of their own stores them.
_ELSEWHERE = frozenset({"concat", "argmax"})


def place_concats(graph: Graph) -> Graph:
    """Copy those parts which cannot be stored there: inputs, parts of another concat, the same value twice."""
    edit = Editor(graph, "place_concats")
    taken: set[str] = set(graph.outputs)
    for node in graph.nodes:
        if node.op != "concat" or node["axis"] != 1:
            continue
        parts = []
        for value in node.inputs:
            producer = edit.producer(value)
            if producer is None or producer.op in _ELSEWHERE or value in taken:
                value = edit.insert_before(node.name, edit.make(f"{node.name}_copy", "copy", (value,)))
            taken.add(value)
            parts.append(value)
        edit.put(Node(node.name, node.op, tuple(parts), node.type, node.attributes, place=node.place))
    return edit.finish()
