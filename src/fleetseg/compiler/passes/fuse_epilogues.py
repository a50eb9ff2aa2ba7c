"""Point-wise operations move into the kernel that makes their operand, before it is stored."""

from __future__ import annotations

from dataclasses import replace

from fleetseg.compiler.ir import Graph, Node, Step
from fleetseg.compiler.passes.editor import Editor
from fleetseg.compiler.types import BINARY, UNARY

#: Operations whose kernels run an epilogue.
HOSTS = frozenset({"conv2d", "pyramid", "max_pool", "avg_pool", "copy"})


def fuse_epilogues(graph: Graph) -> Graph:
    """Fuse until nothing moves; what is left becomes a `copy` with an epilogue.

    A sum goes into the later of its producers. Its other operand may be zero-padded in the channels (then only the
    real ones are added) or un-pooled (then it is read through the places, and the large map is never made).
    """
    edit = Editor(graph, "fuse_epilogues")
    for node in graph.nodes:
        current = edit.producer(node.name)
        if current is not None and current.op in UNARY:
            _fuse_unary(edit, current)
        elif current is not None and current.op in BINARY and _alike(edit, current):
            _fuse_binary(edit, current)
    return edit.finish()


def _alike(edit: Editor, node: Node) -> bool:
    """Whether both operands are maps of one size: all that a step reads."""
    maps = all(name not in edit.constants for name in node.inputs)
    return maps and edit.type_of(node.inputs[0]) == edit.type_of(node.inputs[1])


def _fuse_unary(edit: Editor, node: Node) -> None:
    step = Step(node.op, node.inputs[1:], node.attributes)
    host = _host(edit, node.inputs[0])
    if host is None:
        host = edit.make(node.name, "copy", node.inputs[:1], place=node.place)
    _extend(edit, node, host, step)


def _fuse_binary(edit: Editor, node: Node) -> None:
    order = {name: index for index, name in enumerate(value.name for value in edit.nodes)}
    for own, other in sorted((node.inputs, node.inputs[::-1]), key=lambda pair: -order.get(pair[0], -1)):
        host = _host(edit, own)
        # A value combined with itself must stay: the host's result is not stored twice.
        if host is not None and own != other:
            _extend(edit, node, host, _binary_step(edit, node.op, other))
            return
    host = edit.make(node.name, "copy", node.inputs[:1], place=node.place)
    _extend(edit, node, host, _binary_step(edit, node.op, node.inputs[1]))


def _host(edit: Editor, name: str) -> Node | None:
    node = edit.producer(name)
    return node if node is not None and node.op in HOSTS and edit.use_count(name) == 1 else None


def _extend(edit: Editor, node: Node, host: Node, step: Step) -> None:
    """Put the host at the node's position, under its name, with one more step."""
    place = host.place or node.place
    edit.put(replace(host, name=node.name, type=node.type, epilogue=(*host.epilogue, step), place=place))


def _binary_step(edit: Editor, op: str, other: str) -> Step:
    producer = edit.producer(other)
    if op == "add" and producer is not None:
        if producer.op == "unpool":
            return Step("add_unpooled", producer.inputs)
        channels = _real_channels(edit, producer)
        if channels is not None:
            return Step("add", producer.inputs, channels=(0, channels))
    return Step(op, (other,))


def _real_channels(edit: Editor, pad: Node) -> int | None:
    """How many channels a padding with channels at the end alone has before it."""
    if pad.op != "pad":
        return None
    (before, after), *others = pad["amounts"][1:]
    if before or not after or any(any(amounts) for amounts in (pad["amounts"][0], *others)):
        return None
    return edit.type_of(pad.inputs[0]).shape[1]
