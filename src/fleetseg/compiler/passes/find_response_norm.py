"""Local response normalisation, which PyTorch writes as ten operations, becomes one.

Recognised is x / (k + alpha · mean over neighbouring channels of x²)^beta: squares raised to five axes, padded and
averaged along the channels, and lowered again.
"""

from __future__ import annotations

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor


def find_response_norm(graph: Graph) -> Graph:
    """Replace each division that ends such a chain."""
    edit = Editor(graph, "find_response_norm")
    for node in graph.nodes:
        attributes = _match(edit, node) if node.op == "div" else None
        if attributes is not None:
            edit.put(edit.make(node.name, "response_norm", node.inputs[:1], attributes, place=node.place))
    return edit.finish()


def _match(edit: Editor, node: Node) -> dict[str, float] | None:
    power = _producer(edit, node.inputs[1], "power")
    raised = _producer(edit, power.inputs[0], "affine") if power else None
    scaled = _producer(edit, raised.inputs[0], "affine") if raised else None
    if power is None or raised is None or scaled is None:
        return None
    pool = _producer(edit, _without_reshapes(edit, scaled.inputs[0]), "avg_pool3d")
    pad = _producer(edit, pool.inputs[0], "pad") if pool else None
    square = _producer(edit, _without_reshapes(edit, pad.inputs[0]), "mul") if pad else None
    if pool is None or pad is None or square is None or square.inputs != (node.inputs[0],) * 2:
        return None
    size = pool["kernel_size"][0]
    channels = edit.type_of(node.inputs[0]).shape[1]
    layout = edit.type_of(pad.inputs[0]).shape
    along_channels = layout[:3] == (1, 1, channels) and pool["kernel_size"][1:] == (1, 1)
    padding = ((0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0))
    numbers = [_one(edit, name) for name in (*scaled.inputs[1:], *raised.inputs[1:])]
    if not along_channels or pad["amounts"] != padding or numbers[1] != 0 or numbers[2] != 1 or None in numbers:
        return None
    return {"size": size, "alpha": numbers[0] or 0.0, "beta": power["exponent"], "k": numbers[3] or 0.0}


def _producer(edit: Editor, name: str, op: str) -> Node | None:
    node = edit.producer(name)
    return node if node is not None and node.op == op else None


def _without_reshapes(edit: Editor, name: str) -> str:
    while (node := _producer(edit, name, "reshape")) is not None:
        name = node.inputs[0]
    return name


def _one(edit: Editor, name: str) -> float | None:
    """The value of a constant that is the same everywhere."""
    values = edit.constants[name].ravel()
    return float(values[0]) if (values == values[0]).all() else None
