"""Noise tiles, made once per process: every scene cuts its textures from them at random places."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

TILE = 512


@lru_cache(maxsize=8)
def noise_tile(roughness: float, stream: int = 0) -> npt.NDArray[np.float32]:
    """A (512, 512) float32 tile in 0..1, mean 0.5, that repeats without a seam.

    ``roughness`` is the falloff of its spectrum: 0 is white noise, 1 leaves, 1.8 clouds.
    """
    rng = np.random.default_rng([7919, stream, round(roughness * 100)])
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = 1.0
    spectrum /= frequency**roughness
    spectrum[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return np.asarray(np.clip(0.5 + 0.2 * tile / tile.std(), 0, 1), np.float32)


@lru_cache(maxsize=1)
def sensor_tile() -> npt.NDArray[np.float32]:
    """A (1024, 1024) float32 tile of unit normal noise, the grain of the camera."""
    return np.random.default_rng(7907).standard_normal((1024, 1024)).astype(np.float32)


def noise_cut(
    rng: np.random.Generator, roughness: float, rows: int, cols: int, stream: int = 0
) -> npt.NDArray[np.float32]:
    """A (rows, cols) piece of a tile from a random place; rows and cols at most 512."""
    tile = noise_tile(roughness, stream)
    top = int(rng.integers(0, TILE - min(rows, TILE) + 1))
    left = int(rng.integers(0, TILE - min(cols, TILE) + 1))
    return tile[top : top + rows, left : left + cols]


@lru_cache(maxsize=1)
def _plaster_tile() -> npt.NDArray[np.uint8]:
    """A (512, 512) uint8 tile around 128: stains and grain of a wall."""
    stains, speckle = noise_tile(1.2), noise_tile(0.3, 3)
    grain = 128 * (1 + (stains - 0.5) * 0.26 + (speckle - 0.5) * 0.2)
    return np.asarray(np.clip(grain, 60, 220), np.uint8)


def noise_bytes(rng: np.random.Generator, rows: int, cols: int) -> npt.NDArray[np.uint8]:
    """A fresh (rows, cols) uint8 piece of wall grain around 128; rows and cols at most 512."""
    top, left = int(rng.integers(0, TILE - rows + 1)), int(rng.integers(0, TILE - cols + 1))
    return _plaster_tile()[top : top + rows, left : left + cols].copy()
