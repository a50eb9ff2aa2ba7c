"""Per-channel operations behind a concat move in front of it, where each producer can take its own share."""

from __future__ import annotations

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.editor import Editor
from fleetseg.compiler.types import UNARY


def split_pointwise_over_concat(graph: Graph) -> Graph:
    """f(concat(a, b)) → concat(f(a), f(b)) for every f of one value, if nothing else reads the concat."""
    edit = Editor(graph, "split_pointwise_over_concat")
    for node in graph.nodes:
        if node.op not in UNARY:
            continue
        concat = edit.producer(node.inputs[0])
        if concat is None or concat.op != "concat" or concat["axis"] != 1 or edit.use_count(concat.name) != 1:
            continue
        parts, first = [], 0
        for index, value in enumerate(concat.inputs):
            last = first + edit.type_of(value).shape[1]
            own = [_share(edit, name, first, last) for name in node.inputs[1:]]
            part = edit.make(f"{node.name}_part{index}", node.op, (value, *own), node.attributes, place=node.place)
            parts.append(edit.insert_before(node.name, part))
            first = last
        edit.put(edit.make(node.name, "concat", parts, concat.attributes, place=concat.place))
    return edit.finish()


def _share(edit: Editor, name: str, first: int, last: int) -> str:
    values = edit.constants[name]
    return name if values.shape == (1,) else edit.constant(values[first:last], f"{name}_{first}")
