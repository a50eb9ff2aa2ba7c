"""The borders of the library: uint8 images in, float32 logits out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleetseg.compiler.emit.functions import c_float
from fleetseg.compiler.emit.unit import KERNEL_SIGNATURE, Kernel, Unit, indented
from fleetseg.compiler.memory import Buffer, View
from fleetseg.compiler.schedule import pixel_blocks, vector_lanes
from fleetseg.metadata import Normalisation


def emit_image(unit: Unit, normalisation: Normalisation, size: tuple[int, int]) -> None:
    """Add the kernel that normalises an interleaved uint8 image of `size` (width, height) into channel segments.

    Values are exactly those of `Normalisation.apply`. Padding and margins become zero: the mean colour.
    """
    name = next(iter(unit.graph.inputs))
    view = unit.view(name)
    channels = unit.graph.inputs[name].shape[1]
    factors = np.float32(normalisation.scale) / np.asarray(normalisation.std, np.float32)
    order = range(channels) if normalisation.order == "rgb" else range(channels - 1, -1, -1)
    width, height = size
    body = [
        f"float *out = {unit.pointer(name)};",
        "for (int y = first; y < last; ++y) {",
        f"    float *row = out + {view.buffer.row_offset('y')};",
        *_blank_rows(height, view.buffer),
        f"    const uint8_t *p = job->image + y * (ptrdiff_t){width * channels};",
        f"    memset(row, 0, {view.buffer.lead} * sizeof(float));",
    ]
    sources = list(order)
    for channel, source in [] if view.paired else enumerate(sources):
        mean, factor = c_float(float(np.float32(normalisation.mean[channel]))), c_float(float(factors[channel]))
        body += [
            f"    float *o{channel} = row + {view.start(channel)};",
            f"    for (int x = 0; x < {width}; ++x)",
            f"        o{channel}[x] = ((float)p[x * {channels} + {source}] - {mean}) * {factor};",
            f"    memset(o{channel} + {width}, 0, {view.buffer.segment - width} * sizeof(float));",
        ]
    if view.paired:
        body += _pairs(unit, view, normalisation, sources, width)
    body.append("}")
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, view.buffer.height, "image", "the image, normalised"))


def _pairs(unit: Unit, view: View, normalisation: Normalisation, sources: Sequence[int], width: int) -> list[str]:
    """C: two channels an element, each rounded to bf16, by way of a row of float32 a channel."""
    factors = np.float32(normalisation.scale) / np.asarray(normalisation.std, np.float32)
    lanes = vector_lanes(width, unit.target)
    unit.lanes.add(lanes)
    lines = []
    for channel, source in enumerate(sources):
        mean, factor = c_float(float(np.float32(normalisation.mean[channel]))), c_float(float(factors[channel]))
        lines += [
            f"    float c{channel}[{width}];",
            f"    for (int x = 0; x < {width}; ++x)",
            f"        c{channel}[x] = ((float)p[x * {len(sources)} + {source}] - {mean}) * {factor};",
        ]
    for low in range(0, len(sources), 2):
        high = f"load{lanes}(c{low + 1} + x)" if low + 1 < len(sources) else f"splat{lanes}(0.0f)"
        lines.append(f"    float *o{low} = row + {view.start(low)};")
        for block in pixel_blocks(width, lanes, 1):
            loop = f"    for (int i = 0, x = {block.start}; i < {block.count}; ++i, x += {block.step or width})"
            lines += [loop, f"        store{lanes}(o{low} + x, pair{lanes}(load{lanes}(c{low} + x), {high}));"]
        lines.append(f"    memset(o{low} + {width}, 0, {view.buffer.segment - width} * sizeof(float));")
    return lines


def _blank_rows(height: int, buffer: Buffer) -> list[str]:
    """C: the padding below the image."""
    if buffer.height == height:
        return []
    return [
        f"    if (y >= {height}) {{",
        f"        memset(row, 0, {buffer.row} * sizeof(float));",
        "        continue;",
        "    }",
    ]


def emit_logits(unit: Unit) -> None:
    """Add the kernel that copies the logits out, cropped, as (C, height, width), unless they were stored there."""
    name = unit.graph.outputs[0]
    view = unit.view(name)
    if view.buffer.external:
        return
    channels = unit.graph.type_of(name).shape[1]
    width, height = unit.seen
    body = [
        f"const float *in = {unit.pointer(name)};",
        "for (int y = first; y < last; ++y)",
        f"    for (int c = 0; c < {channels}; ++c)",
        f"        memcpy(job->logits + (c * (ptrdiff_t){height} + y) * {width},",
        f"               in + {view.buffer.row_offset('y')} + {view.start()} + c * {view.buffer.segment},",
        f"               {width} * sizeof(float));",
    ]
    function = unit.add_function("kernel", KERNEL_SIGNATURE, indented("\n".join(body)))
    unit.add_kernel(Kernel(function, height, "logits", "the logits, copied out", "logits"))
