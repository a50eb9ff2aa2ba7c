"""Padding of the image and cropping of the logits leave the graph: reading and writing do them for nothing."""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor
from fleetseg.compiler.verify import verify


def absorb_borders(graph: Graph) -> Graph:
    """The input becomes the padded image, the output the logits before cropping.

    Whoever runs the graph pads its image with zeros on the right and at the bottom to the input's size and keeps of
    the output what lies left and above. Other paddings and crops are left alone.
    """
    edit = Editor(graph, "absorb_borders")
    output = graph.outputs[0]
    while (node := edit.producer(output)) is not None and _is_crop(node):
        output = node.inputs[0]
    if output in graph.by_name:
        edit.outputs = (output,)
    return _without_padding(edit.finish())


def _is_crop(node: Node) -> bool:
    return node.op == "slice" and node["axis"] in (2, 3) and (node["start"], node["step"]) == (0, 1)


def _without_padding(graph: Graph) -> Graph:
    name = next(iter(graph.inputs))
    users = graph.users(name)
    if len(users) != 1 or users[0].op != "pad":
        return graph
    amounts = users[0]["amounts"]
    if any(before for before, _ in amounts) or any(after for _, after in amounts[:2]):
        return graph
    pad = users[0]
    edit = Editor(graph, "absorb_borders")
    edit.redirect(pad.name, name)
    nodes = tuple(node for node in edit.nodes if node.name != pad.name)
    return verify(Graph({name: pad.type}, graph.constants, nodes, edit.outputs), "absorb_borders")
