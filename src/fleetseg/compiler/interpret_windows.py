"""Operations with a window (convolutions and pooling), in NumPy: the meaning, not the speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.ir import Array
from fleetseg.compiler.types import window_size

Attributes = Mapping[str, Any]


def _taps(x: Array, kernel: Sequence[int], attributes: Attributes, fill: float) -> Iterator[tuple[int, int, Array]]:
    """(row, column, view of x that this tap sees) for every tap of the window."""
    top, left, bottom, right = attributes["padding"]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    (stride_y, stride_x), (dilation_y, dilation_x) = attributes["stride"], attributes.get("dilation", (1, 1))
    rows = window_size(x.shape[2], kernel[0], stride_y, top, bottom, dilation_y)
    columns = window_size(x.shape[3], kernel[1], stride_x, left, right, dilation_x)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, x0 = ky * dilation_y, kx * dilation_x
            yield ky, kx, padded[:, :, y : y + rows * stride_y : stride_y, x0 : x0 + columns * stride_x : stride_x]


def conv2d(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Cross-correlation with zero padding, as PyTorch's; weights (out, in / groups, kH, kW), bias optional."""
    x, weight = operands[:2]
    groups = attributes["groups"]
    out_per_group, in_per_group = weight.shape[0] // groups, weight.shape[1]
    result: Array = np.zeros((), np.float32)
    for ky, kx, view in _taps(x, weight.shape[2:], attributes, 0):
        parts = [
            np.tensordot(
                weight[g * out_per_group : (g + 1) * out_per_group, :, ky, kx],
                view[0, g * in_per_group : (g + 1) * in_per_group],
                axes=1,
            )
            for g in range(groups)
        ]
        result = result + np.concatenate(parts)
    bias = operands[2].reshape(-1, 1, 1) if len(operands) > 2 else np.float32(0)
    return np.asarray(result + bias)[None]


def pyramid(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Parallel convolutions of one input, some added to the branch before them, joined along the channels.

    Branch k has weights `operands[1 + k]`, `attributes["branches"][k]` (a mapping of conv2d's attributes) and, where
    `attributes["continues"][k]`, starts from branch k − 1's sum: hierarchical feature fusion.
    """
    x, *weights = operands
    outputs: list[Array] = []
    for weight, branch, continues in zip(weights, attributes["branches"], attributes["continues"], strict=True):
        value = conv2d((x, weight), branch)
        outputs.append(value + outputs[-1] if continues else value)
    return np.concatenate(outputs, axis=1)


def conv_transpose2d(operands: Sequence[Array], attributes: Attributes) -> Array:
    """The gradient of conv2d: each input pixel spreads its weights over the output; weights (in, out/g, kH, kW)."""
    x, weight = operands[:2]
    groups, (stride_y, stride_x) = attributes["groups"], attributes["stride"]
    (dilation_y, dilation_x), (pad_y, pad_x) = attributes["dilation"], attributes["padding"]
    _, channels, height, width = x.shape
    kernel_y, kernel_x = weight.shape[2:]
    rows = (height - 1) * stride_y + (kernel_y - 1) * dilation_y + 1 + attributes["output_padding"][0]
    columns = (width - 1) * stride_x + (kernel_x - 1) * dilation_x + 1 + attributes["output_padding"][1]
    out = np.zeros((weight.shape[1] * groups, rows, columns), np.float32)
    size_in, size_out = channels // groups, weight.shape[1]
    for g in range(groups):
        part, own = x[0, g * size_in : (g + 1) * size_in], weight[g * size_in : (g + 1) * size_in]
        for ky in range(kernel_y):
            for kx in range(kernel_x):
                spread = np.tensordot(own[:, :, ky, kx].T, part, axes=1)
                y, x0 = ky * dilation_y, kx * dilation_x
                target = out[g * size_out : (g + 1) * size_out]
                target[:, y : y + height * stride_y : stride_y, x0 : x0 + width * stride_x : stride_x] += spread
    bias = operands[2].reshape(-1, 1, 1) if len(operands) > 2 else np.float32(0)
    return (out[:, pad_y : rows - pad_y, pad_x : columns - pad_x] + bias)[None]


def max_pool(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Largest value of each window; padding never wins."""
    views = [view for _, _, view in _taps(operands[0], attributes["kernel_size"], attributes, -np.inf)]
    return np.asarray(np.maximum.reduce(views))


def avg_pool(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Mean of each window; `count_padding` says whether padded zeros count, or `counted` how many of them do."""
    x, kernel = operands[0], attributes["kernel_size"]
    total = sum(view for _, _, view in _taps(x, kernel, attributes, 0))
    if attributes["count_padding"]:
        return np.asarray(total / np.float32(kernel[0] * kernel[1]))
    rows, columns = window_counts(x.shape[2:], attributes)
    return np.asarray(total / (rows[:, None] * columns))


def window_counts(size: Sequence[int], attributes: Attributes) -> tuple[Array, Array]:
    """How many rows each row of windows averages over, and how many columns each column of them."""
    counts = []
    for axis in (0, 1):
        kernel, stride = attributes["kernel_size"][axis], attributes["stride"][axis]
        before, after = attributes["padding"][axis], attributes["padding"][axis + 2]
        counted = attributes.get("counted", (0, 0, 0, 0))
        first = np.arange(window_size(size[axis], kernel, stride, before, after, 1)) * stride - before
        last = np.minimum(first + kernel, size[axis] + counted[axis + 2])
        counts.append((last - np.maximum(first, -counted[axis])).astype(np.float32))
    return counts[0], counts[1]


def avg_pool3d(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Mean of windows of (depth, rows, columns) without padding and strides."""
    windows = np.lib.stride_tricks.sliding_window_view(operands[0], attributes["kernel_size"], axis=(2, 3, 4))
    return np.asarray(windows.mean(axis=(5, 6, 7)), np.float32)


def bins(size: int, out: int) -> list[tuple[int, int]]:
    """[first, last) of each of `out` parts of an axis, which overlap where they do not come out even."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def adaptive_pool(x: Array, size: Sequence[int], reduce: Callable[..., Array]) -> Array:
    """One number for each of `size` parts of the map."""
    rows, columns = (bins(x.shape[2 + axis], size[axis]) for axis in (0, 1))
    parts = [[reduce(x[:, :, y0:y1, x0:x1], axis=(2, 3)) for x0, x1 in columns] for y0, y1 in rows]
    return np.asarray(parts, np.float32).transpose(2, 3, 0, 1)


def max_pool_index(operands: Sequence[Array], attributes: Attributes) -> Array:
    """Where in its channel's flattened plane the first largest value of each window lies."""
    x, kernel = operands[0], attributes["kernel_size"]
    places = np.arange(x.shape[2] * x.shape[3], dtype=np.float64).reshape(1, 1, *x.shape[2:])
    views = np.stack([view for _, _, view in _taps(x, kernel, attributes, -np.inf)])
    indices = np.stack([view for _, _, view in _taps(places, kernel, attributes, -1)])
    best = np.argmax(views, axis=0)
    found = np.take_along_axis(np.broadcast_to(indices, views.shape), best[None], axis=0)[0]
    return np.asarray(found, np.int32)
