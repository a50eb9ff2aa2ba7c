"""Trees and hedges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.data.scenes.canvas import Brush, ByteArray, Canvas, Colour
from fleetseg.data.scenes.noise import noise_cut

Foliage = tuple[Colour, Colour]

_FOLIAGE: tuple[Foliage, ...] = (
    ((58, 84, 38), (136, 160, 74)),
    ((50, 76, 44), (108, 140, 78)),
    ((72, 92, 36), (168, 178, 84)),
    ((40, 62, 42), (88, 116, 72)),
    ((110, 76, 34), (206, 150, 66)),
    ((60, 78, 48), (128, 146, 92)),
)
_FOLIAGE_ODDS = (0.24, 0.24, 0.16, 0.14, 0.08, 0.14)


def sample_foliage(rng: np.random.Generator) -> Foliage:
    """A dark and a light leaf colour."""
    dark, light = _FOLIAGE[int(rng.choice(len(_FOLIAGE), p=_FOLIAGE_ODDS))]
    shift = rng.uniform(-9, 9, 3)
    return _moved(dark, shift), _moved(light, shift)


def _moved(colour: Colour, shift: Sequence[float] | npt.NDArray[np.floating]) -> Colour:
    r, g, b = (float(c + s) for c, s in zip(colour, shift, strict=True))
    return (r, g, b)


def draw_tree(
    canvas: Canvas, rng: np.random.Generator, label: int, x: float, z: float, height: float, foliage: Foliage
) -> None:
    """A trunk with branches under an irregular crown, standing at (x, z)."""
    brush = canvas.brush(label, z)
    scale = canvas.camera.pixels_per_metre(z)
    foot_x, foot_y = canvas.camera.project([[x, 0, z]])[0]
    trunk = height * float(rng.uniform(0.28, 0.4))
    thick = max(0.09, height * 0.022) * scale
    bark = float(rng.uniform(58, 96))
    colour = (bark, bark * 0.88, bark * 0.74)
    lean = float(rng.normal(0, 0.03)) * height * scale
    top_x, top_y = foot_x + lean, foot_y - (trunk + height * 0.22) * scale
    stem = [
        [foot_x - thick * 1.25, foot_y], [foot_x - thick * 0.8, foot_y - trunk * 0.2 * scale],
        [top_x - thick * 0.45, top_y], [top_x + thick * 0.45, top_y],
        [foot_x + thick * 0.8, foot_y - trunk * 0.2 * scale], [foot_x + thick * 1.25, foot_y],
    ]  # fmt: skip
    brush.polygon(stem, colour, 0.85)
    lit = [stem[2], stem[1], stem[0], [foot_x, foot_y], [top_x, top_y]]
    if canvas.weather.sun[0] > 0:
        lit = [stem[3], stem[4], stem[5], [foot_x, foot_y], [top_x, top_y]]
    brush.polygon(lit, colour, 0.85 + canvas.weather.direct * 0.6)
    for side in (-1, 1):
        start = (foot_x + lean * 0.6, foot_y - trunk * float(rng.uniform(0.75, 1.0)) * scale)
        tip = (start[0] + side * height * 0.14 * scale, start[1] - height * 0.16 * scale)
        brush.line(start, tip, thick * 0.7, _moved(colour, (-12, -12, -12)))
    wide = height * float(rng.uniform(0.26, 0.36)) * scale
    tall = (height - trunk) * 0.56 * scale
    draw_crown(brush, rng, (top_x, foot_y - (trunk + (height - trunk) * 0.48) * scale), (wide, tall), foliage)


def draw_crown(
    brush: Brush, rng: np.random.Generator, centre: Sequence[float], radii: Sequence[float], foliage: Foliage
) -> None:
    """Leaves as noise cut off at a ragged edge around a few overlapping lumps, lit from the sun's side."""
    image, mask = brush.canvas.image, brush.canvas.mask
    rx, ry = max(radii[0], 1.5) * 1.2, max(radii[1], 1.5) * 1.2
    left, top = round(centre[0] - rx), round(centre[1] - ry)
    wide, high = max(3, round(2 * rx)), max(3, round(2 * ry))
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(image.shape[1], left + wide), min(image.shape[0], top + high)
    lumps = rng.uniform(-0.42, 0.42, (6, 2))
    sizes = rng.uniform(0.34, 0.62, 6)
    if x1 <= x0 or y1 <= y0:
        return
    leaves = noise_cut(rng, 0.85, min(high, 512), min(wide, 512))
    clumps = noise_cut(rng, 1.5, min(max(24, high // 2), 256), min(max(24, wide // 2), 256), stream=2)
    axis = np.linspace(-1, 1, 32, dtype=np.float32)
    body = np.full((32, 32), -9, np.float32)
    for (cx, cy), size in zip(lumps, sizes, strict=True):
        body = np.maximum(body, 1 - ((axis[None] - cx) ** 2 + (axis[:, None] - cy) ** 2) / size**2)
    # No leaf may reach the border of the drawn rectangle: it would cut the crown off straight.
    body -= 6 * np.maximum(axis[None] ** 2 + axis[:, None] ** 2 - 0.62, 0)
    window = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    leaf = cv2.resize(leaves, (wide, high)) if leaves.shape != (high, wide) else leaves
    leaf = leaf[window]
    clump = cv2.resize(clumps, (wide, high))[window]
    solid = cv2.resize(body, (wide, high))[window]
    field = solid + (clump - 0.5) * 2.2 + (leaf - 0.5) * 0.9
    area = (field > 0.05).astype(np.uint8)
    sun = brush.canvas.weather.sun
    across = np.linspace(-1, 1, wide, dtype=np.float32)[None, window[1]]
    down = np.linspace(-1, 1, high, dtype=np.float32)[window[0], None]
    slope = (0.42 - 0.3 * down) + np.float32(0.22 * sun[0]) * across
    glow = np.clip(slope + (leaf - 0.5) * 1.25 + (clump - 0.5) * 0.9, 0, 1.15)
    weather = brush.canvas.weather
    dark = np.asarray(brush.tone(foliage[0], weather.ambient * 0.85), np.float32)
    light = np.asarray(brush.tone(foliage[1], weather.ambient + weather.direct * 0.75), np.float32)
    colour = np.minimum(dark + (light - dark) * glow[..., None], 255).astype(np.uint8)
    cv2.copyTo(colour, area, image[y0:y1, x0:x1])
    mask[y0:y1, x0:x1][area > 0] = brush.label


def hedge_texture(rng: np.random.Generator, length: int, foliage: Foliage) -> ByteArray:
    """Leaves with a ragged top as (64, length, 4) RGB and opacity."""
    leaves = cv2.resize(np.asarray(noise_cut(rng, 0.8, 96, min(512, length * 2))), (length, 64))
    clumps = cv2.resize(np.asarray(noise_cut(rng, 1.5, 40, min(512, length), stream=2)), (length, 64))
    down = np.linspace(0, 1, 64, dtype=np.float32)[:, None]
    glow = np.clip(0.75 - 0.6 * down + (leaves - 0.5) * 1.3 + (clumps - 0.5) * 0.8, 0, 1)[..., None]
    texture = np.empty((64, length, 4), np.uint8)
    texture[..., :3] = np.asarray(foliage[0]) * (1 - glow) + np.asarray(foliage[1]) * glow
    texture[..., 3] = np.where(down * 6 + (leaves + clumps - 1) * 2 > 0.6, 255, 0)
    return texture
