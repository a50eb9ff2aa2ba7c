"""Empty channels that make integer convolutions quick: ONNX Runtime's kernels want multiples of 16.

A 3×3 convolution of 27 to 11 maps takes three times as long as one of 28 to 16. So convolutions give empty maps more,
and what reads them has zero weights there; the results are the same. Where the maps of two convolutions must fit each
other and would not, or something else than these operations reads them, they keep their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.quantise.onnx_graph import OnnxGraph, attribute, float_array, is_depthwise

#: Operations whose result has the channels of what they read, all of the same kind.
_ALIKE = frozenset({"Max", "Add", "Relu", "MaxPool", "AveragePool"})


@dataclass(frozen=True)
class Channels:
    """Where a map's own channels stand among the empty ones."""

    width: int
    places: tuple[int, ...]
    #: Outputs of convolutions that gave the empty ones.
    widened: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def plain(self) -> bool:
        """Whether none is empty."""
        return self.width == len(self.places)

    @classmethod
    def first(cls, count: int, width: int, name: str) -> Channels:
        """The own ones first."""
        return cls(width, tuple(range(count)), frozenset({name}) if width > count else frozenset())


class _MismatchError(Exception):
    """These convolutions must keep their number of maps."""

    def __init__(self, outputs: frozenset[str]) -> None:
        super().__init__(str(sorted(outputs)))
        self.outputs = outputs


def widen(model: Any) -> Any:
    """Rewrite a prepared model in place; it computes the same."""
    graph = OnnxGraph(model)
    counts = graph.channel_counts()
    kept: frozenset[str] = frozenset()
    while True:
        try:
            found = _channels(graph, counts, kept)
            break
        except _MismatchError as mismatch:
            kept |= mismatch.outputs
    for node in graph.nodes:
        if node.op_type == "Conv" and node.output[0] in found:
            _rewrite(graph, node, found[node.input[0]], found[node.output[0]])
    return graph.finish()


def _width(count: int) -> int:
    """For convolutions of so many maps."""
    return -(-count // 16) * 16


def _channels(graph: OnnxGraph, counts: dict[str, int], kept: frozenset[str]) -> dict[str, Channels]:
    """Channels of every map whose number is known; `_MismatchError` names convolutions that must be `kept`."""
    consumers = graph.consumers()
    found = {name: Channels.first(counts[name], counts[name], name) for name in graph.inputs if name in counts}
    for node in graph.nodes:
        output = node.output[0]
        read = [found[name] for name in node.input if name in found]
        if not read:
            continue
        result = _result(graph, node, read, [each.op_type for each in consumers[output]], kept)
        if result is None:
            _must_be_plain(read)
            if output in counts:
                found[output] = Channels.first(counts[output], counts[output], output)
            continue
        if output in graph.outputs:
            _must_be_plain([result])
        found[output] = result
    return found


def _result(
    graph: OnnxGraph, node: Any, read: list[Channels], readers: list[str], kept: frozenset[str]
) -> Channels | None:
    """What the node gives; None for an operation that needs plain channels."""
    output = node.output[0]
    if node.op_type == "Conv":
        weight = graph.constants.get(node.input[1])
        if weight is None:
            return None
        if is_depthwise(node, weight):
            return read[0]
        if int(attribute(node, "group", 1)) != 1:
            return None
        count = weight.shape[0]
        factor = 4 if "DepthToSpace" in readers else 1
        return Channels.first(count, count if output in kept else factor * _width(-(-count // factor)), output)
    if node.op_type in _ALIKE:
        if any(one != read[0] for one in read) or (node.op_type in ("Max", "Add") and len(read) < len(node.input)):
            _must_be_plain(read)
        return Channels(read[0].width, read[0].places, frozenset().union(*(one.widened for one in read)))
    if node.op_type == "Concat" and attribute(node, "axis") == 1 and len(read) == len(node.input):
        return _joined(read)
    if node.op_type == "DepthToSpace":
        return _spread(node, read[0])
    return None


def _joined(read: list[Channels]) -> Channels:
    places: list[int] = []
    width = 0
    for one in read:
        places.extend(width + place for place in one.places)
        width += one.width
    widened = frozenset().union(*(one.widened for one in read))
    if len(places) % 16 == 0 and width % 16:
        raise _MismatchError(widened)  # they fitted before
    return Channels(width, tuple(places), widened)


def _spread(node: Any, read: Channels) -> Channels | None:
    """Depth to space of b² channels each."""
    block = int(attribute(node, "blocksize")) ** 2
    ordered = read.places == tuple(range(len(read.places)))
    if attribute(node, "mode", b"DCR") != b"CRD" or read.width % block or not ordered:
        return None
    return Channels(read.width // block, tuple(range(len(read.places) // block)), read.widened)


def _must_be_plain(read: list[Channels]) -> None:
    widened = frozenset().union(*(one.widened for one in read))
    if any(not one.plain for one in read):
        raise _MismatchError(widened)


def _rewrite(graph: OnnxGraph, node: Any, read: Channels, given: Channels) -> None:
    """Zero weights for the empty channels."""
    if read.plain and given.plain:
        return
    weight = float_array(graph.constants[node.input[1]])
    shape = [given.width, 1 if is_depthwise(node, weight) else read.width, *weight.shape[2:]]
    wide: npt.NDArray[np.float32] = np.zeros(shape, np.float32)
    if is_depthwise(node, weight):
        wide[list(given.places)] = weight
        others = [item for item in node.attribute if item.name != "group"]
        del node.attribute[:]
        node.attribute.extend([*others, _integer("group", given.width)])
    else:
        wide[np.ix_(given.places, read.places)] = weight
    node.input[1] = graph.constant(wide, node.input[1])
    if len(node.input) > 2:
        bias = np.zeros(given.width, np.float32)
        bias[list(given.places)] = graph.constants[node.input[2]]
        node.input[2] = graph.constant(bias, node.input[2])


def _integer(name: str, value: int) -> Any:
    from onnx import helper

    return helper.make_attribute(name, value)
