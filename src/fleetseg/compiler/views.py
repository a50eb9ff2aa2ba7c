"""Rearranging steps: what reshapes, permutations, slices and the like do to an array of any rank.

A `rearrange` node holds a chain of them. No step computes anything: every element of the result is one of the operand,
so chains join and kernels need only know where each element comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetseg.compiler.ir import Array

#: ("reshape", shape), ("permute", axes), ("slice", axis, start, stop, step), ("take", axis, indices) or
#: ("expand", shape).
ViewStep = tuple[Any, ...]


def rearranged(array: Array, steps: Sequence[ViewStep]) -> Array:
    """The array after all steps; `ValueError` where a step does not fit."""
    for kind, *arguments in steps:
        if kind == "reshape":
            array = array.reshape(arguments[0])
        elif kind == "permute":
            array = array.transpose(arguments[0])
        elif kind == "slice":
            axis, start, stop, step = arguments
            array = array[(slice(None),) * axis + (slice(start, stop, step),)]
        elif kind == "take":
            array = np.take(array, arguments[1], axis=arguments[0])
        elif kind == "expand":
            array = np.broadcast_to(array, arguments[0])
        else:
            raise ValueError(f"unknown step {kind}")
    return array


def shape_after(shape: Sequence[int], steps: Sequence[ViewStep]) -> tuple[int, ...]:
    """The shape that the steps give."""
    return tuple(rearranged(np.empty(tuple(shape), np.bool_), steps).shape)


def sources(shape: Sequence[int], steps: Sequence[ViewStep]) -> Array:
    """For every element of the result the place of its source in the flattened operand."""
    numbers = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(tuple(shape))
    return rearranged(numbers, steps)


def pixel_shuffle_steps(shape: Sequence[int], rows: int, columns: int) -> tuple[ViewStep, ...]:
    """(1, C·rows·columns, H, W) → (1, C, H·rows, W·columns)."""
    _, channels, height, width = shape
    outer = channels // (rows * columns)
    return (
        ("reshape", (outer, rows, columns, height, width)),
        ("permute", (0, 3, 1, 4, 2)),
        ("reshape", (1, outer, height * rows, width * columns)),
    )


def pixel_unshuffle_steps(shape: Sequence[int], factor: int) -> tuple[ViewStep, ...]:
    """(1, C, H·factor, W·factor) → (1, C·factor², H, W)."""
    _, channels, height, width = shape
    rows, columns = height // factor, width // factor
    return (
        ("reshape", (channels, rows, factor, columns, factor)),
        ("permute", (0, 2, 4, 1, 3)),
        ("reshape", (1, channels * factor**2, rows, columns)),
    )


def channel_shuffle_steps(shape: Sequence[int], groups: int) -> tuple[ViewStep, ...]:
    """Channel i of group g becomes channel i · groups + g."""
    _, channels, height, width = shape
    return (
        ("reshape", (groups, channels // groups, height, width)),
        ("permute", (1, 0, 2, 3)),
        ("reshape", (1, channels, height, width)),
    )
