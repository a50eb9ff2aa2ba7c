"""Where resizing looks: source positions along one axis, in float32 as PyTorch computes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def nearest_positions(size: int, out: int, scale: float | None, exact: bool) -> Integers:
    """The source pixel of each of `out` pixels of an axis with `size`.

    `scale` is the factor given instead of a size, if one was; `exact` looks at pixel centres.
    """
    step = _step(size, out, scale)
    pixels = np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)
    return np.asarray(np.minimum(np.floor(pixels * step).astype(np.int64), size - 1))


def linear_positions(size: int, out: int, scale: float | None, corners: bool) -> tuple[Integers, Floats]:
    """(first of two source pixels, weight of the one behind it) for each of `out` pixels.

    With `corners` the outermost pixels of both lie on each other, else their outer edges do. The pixel behind the last
    one is the last one itself.
    """
    pixels = np.arange(out, dtype=np.float32)
    if corners:
        step = np.float32((size - 1) / (out - 1)) if out > 1 else np.float32(0)
        places = pixels * step
    else:
        half = np.float32(0.5)
        places = np.maximum((pixels + half) * _step(size, out, scale) - half, np.float32(0))
    first = np.minimum(np.floor(places).astype(np.int64), size - 1)
    weights = np.minimum(np.maximum(places - first.astype(np.float32), 0), 1)
    return first, np.asarray(weights, np.float32)


def _step(size: int, out: int, scale: float | None) -> np.float32:
    return np.float32(1.0 / scale) if scale else np.float32(np.float32(size) / np.float32(out))
