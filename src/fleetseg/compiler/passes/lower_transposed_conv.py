"""A transposed convolution becomes a convolution on the small grid and a pixel shuffle: no zeros are multiplied.

Output pixel s·q + r of an axis gets input pixel q + t through tap k where k·dilation = r + padding − s·t. So every
phase r is a small convolution of its own; the phases are interleaved as extra output channels. Taps that a phase lacks
stay zero, and the kernels skip them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleetseg.compiler.ir import Array, Graph, Node
from fleetseg.compiler.passes.editor import Editor

#: Per output phase: (tap of the transposed kernel, offset t of the input pixel).
Phases = list[list[tuple[int, int]]]


def lower_transposed_conv(graph: Graph) -> Graph:
    """Every conv_transpose2d with stride (2, 2) and an even output becomes conv2d + pixel_shuffle(2)."""
    edit = Editor(graph, "lower_transposed_conv")
    for node in graph.nodes:
        if node.op == "conv_transpose2d" and node["groups"] == 1 and node["stride"] == (2, 2):
            _lower(edit, node)
    return edit.finish()


def _lower(edit: Editor, node: Node) -> None:
    weight = edit.constants[node.inputs[1]]
    size_in, size_out = edit.type_of(node.inputs[0]).shape[2:], node.type.shape[2:]
    phases = [_phases(weight.shape[2 + i], node["padding"][i], node["dilation"][i]) for i in (0, 1)]
    offsets = [[t for phase in axis for _, t in phase] for axis in phases]
    first, last = [min(0, *axis) for axis in offsets], [max(0, *axis) for axis in offsets]
    after = [size_out[i] // 2 - size_in[i] + last[i] for i in (0, 1)]
    if min(after) < 0 or any(size % 2 for size in size_out):
        return
    small = _small_weights(weight, phases, first, last)
    inputs = [node.inputs[0], edit.constant(small, f"{node.name}_weight")]
    if len(node.inputs) > 2:
        inputs.append(edit.constant(np.repeat(edit.constants[node.inputs[2]], 4), f"{node.name}_bias"))
    attributes = {
        "stride": (1, 1),
        "padding": (-first[0], -first[1], after[0], after[1]),
        "dilation": (1, 1),
        "groups": 1,
    }
    conv = edit.make(f"{node.name}_phases", "conv2d", inputs, attributes, place=node.place)
    name = edit.insert_before(node.name, conv)
    edit.put(edit.make(node.name, "pixel_shuffle", (name,), {"factor": 2}, place=node.place))


def _phases(kernel: int, padding: int, dilation: int) -> Phases:
    return [
        [(k, (r + padding - k * dilation) // 2) for k in range(kernel) if (r + padding - k * dilation) % 2 == 0]
        for r in (0, 1)
    ]


def _small_weights(weight: Array, phases: Sequence[Phases], first: list[int], last: list[int]) -> Array:
    channels_in, channels_out = weight.shape[:2]
    size = [last[i] - first[i] + 1 for i in (0, 1)]
    small = np.zeros((channels_out, 2, 2, channels_in, *size), np.float32)
    for row, row_taps in enumerate(phases[0]):
        for column, column_taps in enumerate(phases[1]):
            for ky, ty in row_taps:
                for kx, tx in column_taps:
                    small[:, row, column, :, ty - first[0], tx - first[1]] = weight[:, :, ky, kx].T
    return small.reshape(channels_out * 4, channels_in, *size)
