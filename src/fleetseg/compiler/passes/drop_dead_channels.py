"""Channels that the logits do not depend on leave every layer that makes or reads them.

Dead are, for one, channels whose BatchNorm scale was decayed to nothing. A channel that anything else still reads
stays: to leave it aside, one reader would need a copy of the others, and copies cost more than they save (docs/log.md,
2026-11-23). `fleetseg compress` leaves such channels aside too, for the engines to which a smaller file matters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fleetseg.compiler.channels.liveness import dead_scales, is_alive, living
from fleetseg.compiler.channels.wiring import Wiring
from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor

#: Operations whose attributes speak of every channel's place: theirs stay.
_REARRANGING = frozenset({"rearrange", "reshape", "pixel_shuffle", "pad"})


def drop_dead_channels(graph: Graph) -> Graph:
    """The graph with narrower weights and maps; the same one if no weight shows a dead channel."""
    if not _may_have_dead(graph):
        return graph
    wiring, alive = living(graph, _shared_with_unknown(graph), _placed(graph), choose=False)
    if not all(is_alive(wiring, wiring.values[node.name], alive).any() for node in graph.nodes):
        return graph
    edit = Editor(graph, "drop_dead_channels")
    _narrow_constants(edit, wiring, alive)
    for node in graph.nodes:
        _remake(edit, wiring, alive, node)
    return edit.finish()


def _may_have_dead(graph: Graph) -> bool:
    """Looked at first because following channels takes a second."""
    for node in graph.nodes:
        if node.op == "batch_norm" and dead_scales(graph, node).any():
            return True
        weight = graph.constants.get(node.inputs[1]) if node.op in ("conv2d", "conv_transpose2d") else None
        if weight is not None and any(not np.abs(weight).max(axis=axes).all() for axes in ((0, 2, 3), (1, 2, 3))):
            return True
    return False


def _placed(graph: Graph) -> list[str]:
    """Values whose channels keep their places: before and behind rearrangements, and uneven slices."""
    found = []
    for node in graph.nodes:
        if node.op in _REARRANGING or (node.op == "slice" and node["axis"] == 1 and node["step"] != 1):
            found += [node.name, *node.inputs]
    return found


def _shared_with_unknown(graph: Graph) -> Mapping[str, None]:
    """Constants that some node reads in a way the wiring does not follow."""
    followed = {(use.node, use.constant) for use in Wiring(graph).uses}
    read = ((node.name, name) for node in graph.nodes for name in node.inputs if name in graph.constants)
    return {name: None for node, name in read if (node, name) not in followed}


def _narrow_constants(edit: Editor, wiring: Wiring, alive: set[int]) -> None:
    masks = {(use.constant, use.axis): is_alive(wiring, use.ids, alive) for use in wiring.uses}
    for (name, axis), mask in masks.items():
        edit.constants[name] = np.ascontiguousarray(np.compress(mask, edit.constants[name], axis))


def _remake(edit: Editor, wiring: Wiring, alive: set[int], node: Node) -> None:
    """The node on narrower operands."""
    if node.op in _REARRANGING:
        return
    attributes = dict(node.attributes)
    if node.op == "slice" and node["axis"] == 1:
        stay = is_alive(wiring, wiring.values[node.inputs[0]], alive)
        attributes |= {key: int(stay[: node[key]].sum()) for key in ("start", "stop")}
    if _is_depthwise(wiring.graph, node):
        attributes["groups"] = edit.type_of(node.inputs[0]).shape[1]
    edit.put(edit.make(node.name, node.op, node.inputs, attributes, node.epilogue, node.place))


def _is_depthwise(graph: Graph, node: Node) -> bool:
    groups = node.attributes.get("groups", 1)
    return bool(groups > 1 and groups == graph.type_of(node.inputs[0]).shape[1] == node.type.shape[1])
