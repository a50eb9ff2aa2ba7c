"""Where every value lies: rows of channel segments in one arena.

A feature map is stored row by row; a row holds one segment of W values for each channel, with zeros before, between
and after them as wide as the widest window that reads it. So a dilated tap is a load at another offset, a concat is
adjacent segments, and no lane is wasted on odd channel counts. Rows above and below are no part of it: kernels skip
taps that fall outside.

Zeros are there once, when an instance is made. Buffers with zeros therefore share memory only with buffers of the
same layout, one after the other; all others share freely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from fleetseg.compiler.ir import Graph, Node
from fleetseg.compiler.pairs import Places, extent, places_of_pairs
from fleetseg.compiler.types import window_size

#: Elements to which rows and segments are aligned: 64 bytes of float32.
ALIGNMENT = 16
#: Bytes behind the last buffer that vectors may read.
SLACK = 512
#: An element of a bf16 map is a pair of channels.
ELEMENT_BYTES = {"f32": 4, "u8": 1, "i32": 4, "bf16": 4}


@dataclass(frozen=True)
class Buffer:
    """The memory of one value or of one concat."""

    name: str
    element: str
    #: Segments of a row: channels, or pairs of channels.
    segments: int
    height: int
    width: int
    #: Zeros that windows may read left and right of every segment.
    margin: int
    #: Bytes from the start of the arena.
    offset: int = -1
    #: Whether something relies on zeros that no kernel writes.
    zeroed: bool = False
    #: How many rows are kept, row y in the place of row y - ring; 0 for all.
    ring: int = 0
    #: Whether this is the caller's memory for the logits: planes, not segments, and no part of the arena.
    external: bool = False

    @property
    def lead(self) -> int:
        """Elements of a row before its first segment."""
        return _aligned(self.margin)

    @property
    def segment(self) -> int:
        """Elements from one channel to the next."""
        if self.external:
            return self.height * self.width
        return _aligned(self.width + self.margin)

    @property
    def row(self) -> int:
        """Elements from one row to the next."""
        if self.external:
            return self.width
        return self.lead + self.segments * self.segment

    def row_offset(self, y: str) -> str:
        """C: elements from the first row to row `y`."""
        row = f"(({y}) % {self.ring})" if self.ring else f"({y})"
        return f"{row} * (ptrdiff_t){self.row}"

    @property
    def bytes(self) -> int:
        """Size, a multiple of 64."""
        size = (self.ring or self.height) * self.row * ELEMENT_BYTES[self.element]
        return -(-size // 64) * 64


@dataclass(frozen=True)
class View:
    """A value: some channels of a buffer."""

    buffer: Buffer
    #: Segments of the buffer before the value's own.
    first_segment: int
    #: Where the channels lie, if two share a segment.
    places: Places = ()

    @property
    def paired(self) -> bool:
        """Whether two channels share an element."""
        return self.buffer.element == "bf16"

    @property
    def segments(self) -> int:
        """How many segments a value over pairs has."""
        return extent(self.places) // 2

    def start(self, channel: int = 0) -> int:
        """Elements from the buffer's start to row 0, `channel` of the value (or its pair), column 0."""
        segment = self.places[channel] // 2 if self.paired else channel
        return self.buffer.lead + (self.first_segment + segment) * self.buffer.segment


@dataclass(frozen=True)
class MemoryPlan:
    """Views of all values that lie in the arena, and its size in bytes."""

    views: Mapping[str, View]
    size: int


class Run(Protocol):
    """Kernels that take turns, and how many rows are kept of the buffers that only they touch."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The kernels, in order."""
        ...

    @property
    def rings(self) -> Mapping[str, int]:
        """Buffer → rows."""
        ...


def plan_memory(graph: Graph, seen: tuple[int, int], runs: Sequence[Run] = ()) -> MemoryPlan:
    """Views for the input and every node but class maps, which leave the library.

    `seen` is the (width, height) of the logits that the caller gets. If nothing is cropped and nobody else reads
    them, they are stored where the caller wants them, and the arena has no room for them. The kernels of a run take
    turns: what one of them touches lives as long as all.
    """
    margins = _margins(graph)
    places = places_of_pairs(graph)
    homes = homes_of(graph)
    rings = {home: rows for run in runs for home, rows in run.rings.items()}
    roots = {home for home, _ in homes.values()}
    image = next(iter(graph.inputs))
    buffers = {}
    for name in roots:
        value = graph.type_of(name)
        _, channels, height, width = value.shape
        segments = extent(places[name]) // 2 if name in places else channels
        margin = max(margins.get(member, 0) for member, (home, _) in homes.items() if home == name)
        # The image's kernel writes its own zeros, once a run: its map is large and soon dead.
        zeroed = margin > 0 and name != image
        buffers[name] = Buffer(
            name, value.element, segments, height, width, margin, zeroed=zeroed, ring=rings.get(name, 0)
        )
    logits = _external_logits(graph, buffers, seen)
    inside = _equal_margins({name: buffer for name, buffer in buffers.items() if name not in logits})
    placed, size = place(inside, _lifetimes(graph, homes, runs))
    placed |= logits
    views = {name: View(placed[home], segment, places.get(name, ())) for name, (home, segment) in homes.items()}
    return MemoryPlan(views, size + SLACK)


def _external_logits(graph: Graph, buffers: Mapping[str, Buffer], seen: tuple[int, int]) -> dict[str, Buffer]:
    name = graph.outputs[0]
    buffer = buffers.get(name)
    if buffer is None or graph.users(name) or (buffer.width, buffer.height) != seen:
        return {}
    return {name: replace(buffer, external=True)}


def _equal_margins(buffers: Mapping[str, Buffer]) -> dict[str, Buffer]:
    """Maps of one size get the widest margin among them: with one layout they can share memory."""
    widest: dict[tuple[object, ...], int] = {}
    for buffer in buffers.values():
        size = _shape(buffer)
        widest[size] = max(widest.get(size, 0), buffer.margin)
    return {
        name: replace(buffer, margin=widest[_shape(buffer)]) if buffer.zeroed else buffer
        for name, buffer in buffers.items()
    }


def _shape(buffer: Buffer) -> tuple[object, ...]:
    return buffer.element, buffer.segments, buffer.height, buffer.width, buffer.ring


def window_margin(width: int, out: int, kernel: int, stride: int, dilation: int, left: int) -> int:
    """Zeros that a window needs on the worse side of a row."""
    right = (out - 1) * stride + (kernel - 1) * dilation - left - (width - 1)
    return max(0, left, right)


def _margins(graph: Graph) -> dict[str, int]:
    margins: dict[str, int] = {}
    for node in graph.nodes:
        for kernel, window in _windows(graph, node):
            name = node.inputs[0]
            width = graph.type_of(name).shape[3]
            stride, dilation = window["stride"][1], window.get("dilation", (1, 1))[1]
            left, right = window["padding"][1], window["padding"][3]
            out = window_size(width, kernel, stride, left, right, dilation)
            need = window_margin(width, out, kernel, stride, dilation, left)
            margins[name] = max(margins.get(name, 0), need)
    return margins


def _windows(graph: Graph, node: Node) -> list[tuple[int, Mapping[str, tuple[int, ...]]]]:
    """(width of the window, its attributes) of everything that slides over the node's first input."""
    if node.op == "conv2d":
        return [(graph.type_of(node.inputs[1]).shape[3], node.attributes)]
    if node.op == "pyramid":
        widths = [graph.type_of(name).shape[3] for name in node.inputs[1:]]
        return list(zip(widths, node["branches"], strict=True))
    if node.op in ("max_pool", "max_pool_index", "avg_pool"):
        return [(node["kernel_size"][1], node.attributes)]
    return []


def homes_of(graph: Graph) -> dict[str, tuple[str, int]]:
    """Value → (the value in whose buffer it lies, its first segment there)."""
    places = places_of_pairs(graph)
    homes = {name: (name, 0) for name in graph.inputs}
    homes |= {node.name: (node.name, 0) for node in graph.nodes if not _leaves(node)}
    for node in reversed(graph.nodes):
        if node.op == "concat":
            home, segment = homes[node.name]
            for part in node.inputs:
                homes[part] = (home, segment)
                segment += extent(places[part]) // 2 if part in places else graph.type_of(part).shape[1]
    return homes


def _leaves(node: Node) -> bool:
    return node.op == "argmax" or any(step.op == "argmax" for step in node.epilogue)


def _lifetimes(
    graph: Graph, homes: Mapping[str, tuple[str, int]], runs: Sequence[Run] = ()
) -> dict[str, tuple[int, int]]:
    """Buffer → (first, last) position of a node that writes or reads it; the logits live on to the end."""
    spans: dict[str, tuple[int, int]] = {}

    def touch(name: str, time: int) -> None:
        if name in homes:
            home = homes[name][0]
            first, last = spans.get(home, (time, time))
            spans[home] = (min(first, time), max(last, time))

    for name in graph.inputs:
        touch(name, -1)
    positions = {node.name: time for time, node in enumerate(graph.nodes)}
    spans_of = {name: (positions[run.nodes[0]], positions[run.nodes[-1]]) for run in runs for name in run.nodes}
    for node in graph.nodes:
        if node.op != "concat":
            for time in spans_of.get(node.name, (positions[node.name],)):
                for name in (node.name, *node.uses):
                    touch(name, time)
    touch(graph.outputs[0], len(graph.nodes))
    return spans


def place(buffers: Mapping[str, Buffer], lifetimes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, Buffer], int]:
    """Offsets such that buffers alive at the same time never overlap, and the size that this takes.

    Largest first, each at the lowest offset that is free during its life.
    """
    slots, members = _zeroed_slots([buffer for buffer in buffers.values() if buffer.zeroed], lifetimes)
    forever = (-1, 10**9)
    wanted = [(buffer, lifetimes[buffer.name]) for buffer in buffers.values() if not buffer.zeroed]
    wanted += [(slot, forever) for slot in slots]
    done: list[tuple[Buffer, tuple[int, int]]] = []
    for buffer, life in sorted(wanted, key=lambda item: (-item[0].bytes, item[0].name)):
        busy = [other for other, span in done if span[0] <= life[1] and life[0] <= span[1]]
        done.append((replace(buffer, offset=_lowest(buffer.bytes, busy)), life))
    offsets = {buffer.name: buffer.offset for buffer, _ in done}
    placed = {name: replace(buffer, offset=offsets[members.get(name, name)]) for name, buffer in buffers.items()}
    return placed, max((buffer.offset + buffer.bytes for buffer, _ in done), default=0)


def _zeroed_slots(
    buffers: Sequence[Buffer], lifetimes: Mapping[str, tuple[int, int]]
) -> tuple[list[Buffer], dict[str, str]]:
    """One slot for every set of equally laid out buffers of which no two live at once, and who is in which."""
    slots: list[Buffer] = []
    last_use: dict[str, int] = {}
    members: dict[str, str] = {}
    for buffer in sorted(buffers, key=lambda item: lifetimes[item.name]):
        first, last = lifetimes[buffer.name]
        fitting = [slot for slot in slots if _layout(slot) == _layout(buffer) and last_use[slot.name] < first]
        slot = fitting[0] if fitting else buffer
        if not fitting:
            slots.append(buffer)
        last_use[slot.name] = last
        members[buffer.name] = slot.name
    return slots, members


def _layout(buffer: Buffer) -> tuple[object, ...]:
    return buffer.element, buffer.segments, buffer.height, buffer.width, buffer.ring, buffer.margin


def _lowest(size: int, busy: Sequence[Buffer]) -> int:
    offset = 0
    for other in sorted(busy, key=lambda buffer: buffer.offset):
        if offset + size <= other.offset:
            break
        offset = max(offset, other.offset + other.bytes)
    return offset


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
