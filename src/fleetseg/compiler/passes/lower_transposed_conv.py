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
from fleetseg.compiler.views import ViewStep, pixel_shuffle_steps

#: Per output phase: (tap of the transposed kernel, offset t of the input pixel).
Phases = list[list[tuple[int, int]]]


def lower_transposed_conv(graph: Graph) -> Graph:
    """Every conv_transpose2d becomes conv2d, a shuffle and, where the last pixels are too many, a slice."""
    edit = Editor(graph, "lower_transposed_conv")
    for node in graph.nodes:
        if node.op == "conv_transpose2d":
            _lower(edit, node)
    return edit.finish()


def _lower(edit: Editor, node: Node) -> None:
    weight, stride, groups = edit.constants[node.inputs[1]], node["stride"], node["groups"]
    size_in, size_out = edit.type_of(node.inputs[0]).shape[2:], node.type.shape[2:]
    phases = [_phases(weight.shape[2 + i], node["padding"][i], node["dilation"][i], stride[i]) for i in (0, 1)]
    offsets = [[t for phase in axis for _, t in phase] for axis in phases]
    first, last = [min(0, *axis, 0) for axis in offsets], [max(0, *axis, 0) for axis in offsets]
    after = [max(0, -(-size_out[i] // stride[i]) - size_in[i] + last[i]) for i in (0, 1)]
    small = _small_weights(weight, groups, phases, first, last)
    inputs = [node.inputs[0], edit.constant(small, f"{node.name}_weight")]
    if len(node.inputs) > 2:
        bias = np.repeat(edit.constants[node.inputs[2]], stride[0] * stride[1])
        inputs.append(edit.constant(bias, f"{node.name}_bias"))
    attributes = {
        "stride": (1, 1),
        "padding": (-first[0], -first[1], after[0], after[1]),
        "dilation": (1, 1),
        "groups": groups,
    }
    conv = edit.make(f"{node.name}_phases", "conv2d", inputs, attributes, place=node.place)
    _interleave(edit, node, edit.insert_before(node.name, conv), stride)


def _interleave(edit: Editor, node: Node, value: str, stride: tuple[int, int]) -> None:
    """Put the phases side by side and drop what lies outside the result."""
    shape = edit.type_of(value).shape
    steps: list[ViewStep] = []
    size = (shape[2] * stride[0], shape[3] * stride[1])
    if stride == (2, 2):
        # A shuffle that the convolution can store by itself.
        if size == node.type.shape[2:]:
            edit.put(edit.make(node.name, "pixel_shuffle", (value,), {"factor": 2}, place=node.place))
            return
        shuffle = edit.make(f"{node.name}_shuffle", "pixel_shuffle", (value,), {"factor": 2}, place=node.place)
        value = edit.insert_before(node.name, shuffle)
    else:
        steps += pixel_shuffle_steps(shape, *stride)
    steps += [("slice", axis, 0, node.type.shape[axis], 1) for axis in (2, 3)]
    edit.put(edit.make(node.name, "rearrange", (value,), {"steps": tuple(steps)}, place=node.place))


def _phases(kernel: int, padding: int, dilation: int, stride: int) -> Phases:
    def phase(r: int) -> list[tuple[int, int]]:
        places = [(k, r + padding - k * dilation) for k in range(kernel)]
        return [(k, place // stride) for k, place in places if place % stride == 0]

    return [phase(r) for r in range(stride)]


def _small_weights(
    weight: Array, groups: int, phases: Sequence[Phases], first: Sequence[int], last: Sequence[int]
) -> Array:
    channels_in, per_group, *_ = weight.shape
    size = [last[i] - first[i] + 1 for i in (0, 1)]
    shape = (groups, per_group, len(phases[0]), len(phases[1]), channels_in // groups, *size)
    small = np.zeros(shape, np.float32)
    grouped = weight.reshape(groups, channels_in // groups, *weight.shape[1:])
    for row, row_taps in enumerate(phases[0]):
        for column, column_taps in enumerate(phases[1]):
            for ky, ty in row_taps:
                for kx, tx in column_taps:
                    own = grouped[..., ky, kx].transpose(0, 2, 1)
                    small[:, :, row, column, :, ty - first[0], tx - first[1]] = own
    return small.reshape(-1, channels_in // groups, *size)
