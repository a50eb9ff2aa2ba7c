"""The branches of an ESP module become one operation with running sums (hierarchical feature fusion).

concat(b0, b1, b1 + b2, (b1 + b2) + b3, …), where every b is a convolution of the same value that keeps its size, is one
`pyramid`: a sum is continued in registers instead of being stored and loaded again.
"""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor


def find_pyramids(graph: Graph) -> Graph:
    """Replace each such concat; nothing else may read its parts."""
    edit = Editor(graph, "find_pyramids")
    for node in graph.nodes:
        if node.op == "concat" and node["axis"] == 1:
            branches = _branches(edit, node)
            if branches:
                weights = [branch.inputs[1] for branch, _ in branches]
                attributes = {
                    "branches": tuple(branch.attributes for branch, _ in branches),
                    "continues": tuple(continues for _, continues in branches),
                }
                inputs = (branches[0][0].inputs[0], *weights)
                edit.put(edit.make(node.name, "pyramid", inputs, attributes, place=node.place))
    return edit.finish()


def _branches(edit: Editor, concat: Node) -> list[tuple[Node, bool]]:
    """(convolution, does it continue the part before) of each part; empty if the concat is no pyramid."""
    result: list[tuple[Node, bool]] = []
    for index, name in enumerate(concat.inputs):
        before = concat.inputs[index - 1] if index else ""
        after = edit.producer(concat.inputs[index + 1]) if index + 1 < len(concat.inputs) else None
        # A part is read by the concat and, if a sum continues from it, by that sum.
        continued = after is not None and after.op == "add" and name in after.inputs
        branch = _branch(edit, name, before)
        if branch is None or edit.use_count(name) != 1 + continued:
            return []
        result.append(branch)
    sources = {branch.inputs[0] for branch, _ in result}
    return result if len(sources) == 1 and any(continues for _, continues in result) else []


def _branch(edit: Editor, name: str, before: str) -> tuple[Node, bool] | None:
    node = edit.producer(name)
    if node is None:
        return None
    if _is_branch(edit, name):
        return node, False
    if node.op == "add" and before in node.inputs:
        other = node.inputs[1] if node.inputs[0] == before else node.inputs[0]
        conv = edit.producer(other)
        if conv is not None and _is_branch(edit, other) and edit.use_count(other) == 1:
            return conv, True
    return None


def _is_branch(edit: Editor, name: str) -> bool:
    node = edit.producer(name)
    if node is None or node.op != "conv2d" or len(node.inputs) != 2 or node["groups"] != 1:
        return False
    size = edit.type_of(node.inputs[0]).shape[2:]
    return node.type.shape[2:] == size and node["stride"] == (1, 1) and not node.epilogue
