"""Places of maxima, written as comparisons, and un-pooling by them become two operations with a 2-bit index.

Recognised is the tie-breaking form of 2×2 pooling: of the four views x[0::2, 0::2] … of a value, each compared with
the pooled value and excluded where an earlier one matched, stacked in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.passes.editor import Editor


def find_unpooling(graph: Graph) -> Graph:
    """where(places, unsqueeze(v), 0) → flatten → pixel_shuffle(2) becomes unpool(v, pool_place(x))."""
    edit = Editor(graph, "find_unpooling")
    found: dict[str, str] = {}
    for node in graph.nodes:
        match = _match(edit, node)
        if match is None:
            continue
        if match.places not in found:
            place = edit.make(f"{match.places}_index", "pool_place", (match.source,), place=match.stacked.place)
            found[match.places] = edit.insert_before(match.places, place)
        edit.put(edit.make(node.name, "unpool", (match.value, found[match.places]), place=node.place))
    return edit.finish()


@dataclass(frozen=True)
class _Match:
    value: str
    places: str
    source: str
    stacked: Node


def _match(edit: Editor, node: Node) -> _Match | None:
    if node.op != "pixel_shuffle" or node["factor"] != 2:
        return None
    flat = _producer(edit, node.inputs[0], "reshape")
    where = _producer(edit, flat.inputs[0], "where") if flat else None
    if where is None or not _is_zero(edit, where.inputs[2]):
        return None
    raised = _producer(edit, where.inputs[1], "reshape")
    stacked = _producer(edit, where.inputs[0], "concat")
    if raised is None or stacked is None or len(stacked.inputs) != 4 or stacked["axis"] != 2:
        return None
    source = _source_of_places(edit, stacked)
    value = edit.type_of(raised.inputs[0]).shape
    expected = (*value[:2], 1, *value[2:])
    if source is None or edit.type_of(raised.name).shape != expected:
        return None
    return _Match(raised.inputs[0], stacked.name, source, stacked)


def _producer(edit: Editor, name: str, op: str) -> Node | None:
    node = edit.producer(name)
    return node if node is not None and node.op == op else None


def _is_zero(edit: Editor, name: str) -> bool:
    return name in edit.constants and edit.constants[name].size == 1 and not edit.constants[name].any()


def _source_of_places(edit: Editor, stacked: Node) -> str | None:
    """The pooled value's input, if the four planes are its first maxima in row-major order; else None."""
    planes = [_producer(edit, name, "reshape") for name in stacked.inputs]
    names = [plane.inputs[0] for plane in planes if plane is not None]
    if len(names) != 4:
        return None
    top_left = _compared(edit, names[0])
    if top_left is None or top_left[1] != (0, 0):
        return None
    source = top_left[0]
    top_right = _excluding(edit, names[1], source, (0, 1))
    bottom_left = _excluding(edit, names[2], source, (1, 0))
    last = _producer(edit, names[3], "logical_not")
    if top_right is None or bottom_left is None or last is None:
        return None
    first_two, first_three = {names[0], names[1]}, {names[0], names[1], names[2]}
    right = top_right == {names[0]} and bottom_left == first_two and _union(edit, last.inputs[0]) == first_three
    return source if right else None


def _compared(edit: Editor, name: str) -> tuple[str, tuple[int, int]] | None:
    """(x, (row, column)) for equal(x[row::2, column::2], max_pool(x))."""
    equal = _producer(edit, name, "equal")
    if equal is None:
        return None
    pooled = _producer(edit, equal.inputs[1], "max_pool")
    window = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}
    if pooled is None or dict(pooled.attributes) != window:
        return None
    value, offset = equal.inputs[0], [-1, -1]
    for axis in (3, 2):
        view = _producer(edit, value, "slice")
        if view is None or view["axis"] != axis or view["step"] != 2:
            return None
        offset[axis - 2], value = view["start"], view.inputs[0]
    return (value, (offset[0], offset[1])) if value == pooled.inputs[0] else None


def _excluding(edit: Editor, name: str, source: str, offset: tuple[int, int]) -> set[str] | None:
    """The planes excluded in and(equal(view at offset), not(or of planes)); None if it is anything else."""
    both = _producer(edit, name, "logical_and")
    negated = _producer(edit, both.inputs[1], "logical_not") if both else None
    if both is None or negated is None or _compared(edit, both.inputs[0]) != (source, offset):
        return None
    return _union(edit, negated.inputs[0])


def _union(edit: Editor, name: str) -> set[str]:
    node = edit.producer(name)
    if node is not None and node.op == "logical_or":
        return _union(edit, node.inputs[0]) | _union(edit, node.inputs[1])
    return {name}
