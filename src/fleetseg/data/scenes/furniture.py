"""Poles, signs, traffic lights, fences and walls of hedge."""

from __future__ import annotations

import numpy as np

from fleetseg.data.scenes.canvas import (
    FENCE,
    POLE,
    SIGN,
    TREE,
    Brush,
    ByteArray,
    Canvas,
    Colour,
)
from fleetseg.data.scenes.plants import Foliage, hedge_texture

_WHITE: Colour = (236, 234, 228)
_RED: Colour = (196, 38, 38)
_BLUE: Colour = (38, 84, 172)


def _upright(brush: Brush, x: float, z: float, bottom: float, top: float, half: float, colour: Colour) -> None:
    """A round post: a lit half and a shaded half."""
    lit_right = brush.canvas.weather.sun[0] > 0
    bright = brush.canvas.weather.ambient + brush.canvas.weather.direct * 0.6
    dim = brush.canvas.weather.ambient * 0.72
    upper = half * 0.75
    outline = [[x - half, bottom, z], [x - upper, top, z], [x + upper, top, z], [x + half, bottom, z]]
    brush.face(outline, colour, dim)
    lit = (
        [[x, bottom, z], [x, top, z], outline[2], outline[3]]
        if lit_right
        else [*outline[:2], [x, top, z], [x, bottom, z]]
    )
    brush.face(lit, colour, bright)


def _post_colour(rng: np.random.Generator) -> Colour:
    tone = float(rng.choice([56, 78, 118, 142]))
    return (tone, tone * float(rng.uniform(0.96, 1.04)), tone * float(rng.uniform(0.94, 1.06)))


def draw_lamp_post(canvas: Canvas, rng: np.random.Generator, x: float, z: float, towards: int) -> None:
    """A street lamp whose arm reaches ``towards`` the road (-1 left, +1 right)."""
    brush = canvas.brush(POLE, z)
    colour = _post_colour(rng)
    height, half = float(rng.uniform(5.5, 8.5)), float(rng.uniform(0.085, 0.12))
    _upright(brush, x, z, 0, height, half, colour)
    _upright(brush, x, z, 0, 1.2, half * 1.5, colour)
    reach = towards * float(rng.uniform(0.9, 1.7))
    points = canvas.camera.project(
        [[x, height - 0.1, z], [x + reach * 0.5, height + 0.3, z], [x + reach, height + 0.35, z]]
    )
    width = half * 1.3 * canvas.camera.pixels_per_metre(z)
    brush.line(points[0], points[1], width, colour)
    brush.line(points[1], points[2], width, colour)
    head: Colour = (255, 236, 176) if canvas.weather.lamps_lit else (176, 174, 168)
    lamp = [
        [x + reach * 0.85, height + 0.45, z], [x + reach * 1.45, height + 0.4, z],
        [x + reach * 1.4, height + 0.22, z], [x + reach * 0.85, height + 0.22, z],
    ]  # fmt: skip
    brush.face(lamp, head)


def draw_bollard(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A short post at the kerb."""
    brush = canvas.brush(POLE, z)
    colour = _post_colour(rng)
    _upright(brush, x, z, 0, 1.05, 0.09, colour)
    brush.face([[x - 0.1, 0.85, z], [x + 0.1, 0.85, z], [x + 0.1, 0.95, z], [x - 0.1, 0.95, z]], _WHITE)


def draw_sign_post(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """One or two signs on a thin post."""
    top = float(rng.uniform(2.5, 3.1))
    brush = canvas.brush(POLE, z)
    _upright(brush, x, z, 0, top, 0.06, _post_colour(rng))
    plate = canvas.brush(SIGN, z)
    size = float(rng.uniform(0.34, 0.44))
    _draw_sign(plate, rng, x, top - 0.25, z, size)
    if rng.random() < 0.4:
        _draw_sign(plate, rng, x, top - 0.3 - 2.1 * size, z, size * 0.85)


def _draw_sign(brush: Brush, rng: np.random.Generator, x: float, y: float, z: float, half: float) -> None:
    """A road sign around (x, y): limit, warning, give way, order, direction or parking."""
    kind = str(rng.choice(["limit", "warning", "yield", "order", "direction", "parking", "no entry"]))
    bright = brush.canvas.weather.light_on((0.0, 0.0, -1.0)) * 1.05
    scale = brush.canvas.camera.pixels_per_metre(z)
    cx, cy = (float(v) for v in brush.canvas.camera.project([[x, y, z]])[0])

    def disc(radius: float, colour: Colour) -> None:
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        rim = [[cx + radius * scale * np.cos(t), cy + radius * scale * np.sin(t)] for t in turn]
        brush.polygon(rim, colour, bright)

    def block(wide: float, tall: float, colour: Colour, dx: float = 0.0, dy: float = 0.0) -> None:
        w, h, px, py = wide * scale, tall * scale, cx + dx * scale, cy + dy * scale
        brush.polygon([[px - w, py - h], [px + w, py - h], [px + w, py + h], [px - w, py + h]], colour, bright)

    def triangle(size: float, colour: Colour, up: int) -> None:
        s = size * scale
        brush.polygon([[cx, cy - up * s], [cx + s, cy + up * s * 0.75], [cx - s, cy + up * s * 0.75]], colour, bright)

    if kind == "limit":
        disc(half, _RED)
        disc(half * 0.74, _WHITE)
        block(half * 0.1, half * 0.34, (40, 40, 40), dx=-half * 0.24)
        block(half * 0.1, half * 0.34, (40, 40, 40), dx=half * 0.22)
    elif kind in ("warning", "yield"):
        up = 1 if kind == "warning" else -1
        triangle(half * 1.1, _RED, up)
        triangle(half * 0.66, _WHITE, up)
        if kind == "warning":
            block(half * 0.08, half * 0.2, (40, 40, 40), dy=half * 0.14)
    elif kind == "order":
        disc(half, _WHITE)
        disc(half * 0.92, _BLUE)
        block(half * 0.1, half * 0.5, _WHITE)
    elif kind == "direction":
        block(half * 1.5, half * 0.7, _WHITE)
        block(half * 1.42, half * 0.62, (30, 104, 74) if rng.random() < 0.5 else _BLUE)
        block(half * 1.0, half * 0.1, _WHITE, dy=-half * 0.22)
        block(half * 0.7, half * 0.1, _WHITE, dx=-half * 0.2, dy=half * 0.2)
    elif kind == "parking":
        block(half * 0.8, half, _WHITE)
        block(half * 0.72, half * 0.92, _BLUE)
        block(half * 0.1, half * 0.6, _WHITE, dx=-half * 0.2)
        block(half * 0.28, half * 0.24, _WHITE, dx=half * 0.08, dy=-half * 0.34)
    else:
        disc(half, _RED)
        block(half * 0.68, half * 0.16, _WHITE)


def draw_traffic_light(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A signal head with three lamps on a post."""
    brush = canvas.brush(POLE, z)
    _upright(brush, x, z, 0, 2.6, 0.075, (74, 76, 78))
    box = canvas.brush(SIGN, z)
    bottom, half, tall = 2.3, 0.2, 1.05
    top = bottom + tall
    box.face(
        _plate(x, z, bottom - 0.1, top + 0.1, half + 0.1),
        (226, 224, 216) if rng.random() < 0.3 else (36, 36, 38),
    )
    box.face(_plate(x, z, bottom, top, half), (22, 23, 25))
    state = int(rng.choice([0, 0, 2, 2, 1]))
    scale = canvas.camera.pixels_per_metre(z)
    for lamp, (on, off) in enumerate(
        (((255, 52, 40), (76, 26, 24)), ((255, 190, 50), (80, 62, 24)), ((70, 240, 150), (22, 68, 44)))
    ):
        at = canvas.camera.project([[x, top - (lamp + 0.5) * tall / 3, z]])[0]
        radius = 0.125 * scale
        box.ellipse(at, (radius, radius), on if lamp == state else off)


def _plate(x: float, z: float, bottom: float, top: float, half: float) -> list[list[float]]:
    return [[x - half, bottom, z], [x - half, top, z], [x + half, top, z], [x + half, bottom, z]]


def railing_texture(rng: np.random.Generator, length: float, kind: str, rows: int, cols: int) -> ByteArray:
    """A fence of ``length`` metres as (rows, cols, 4) RGB and opacity.

    Gaps between bars stay faintly tinted: CamVid labels a fence as a whole, gaps included.
    """
    texture = np.zeros((rows, cols, 4), np.uint8)
    per_metre = cols / length
    along = np.arange(cols) / per_metre
    if kind == "planks":
        tone = np.array([146, 112, 78]) * float(rng.uniform(0.6, 1.15)) + rng.uniform(-12, 12, 3)
        boards = (along / 0.16).astype(int)
        shades = rng.uniform(0.82, 1.12, int(boards.max()) + 1)[boards]
        grooves = np.where(np.mod(along, 0.16) < 0.025, 0.6, 1.0)
        texture[..., :3] = np.clip(tone * (shades * grooves)[None, :, None], 0, 255)
        texture[..., :3] = (texture[..., :3] * np.linspace(1.05, 0.82, rows)[:, None, None]).astype(np.uint8)
        texture[..., 3] = 255
        return texture
    dark = float(rng.choice([36, 52, 150, 200]))
    colour = np.array([dark, dark * rng.uniform(0.95, 1.1), dark])
    texture[..., :3] = np.clip(colour, 0, 255)
    texture[..., 3] = 118 if kind == "mesh" else 84
    gap = 0.14 if kind == "bars" else 0.09
    texture[:, np.mod(along, gap) < 0.035, 3] = 205
    if kind == "mesh":
        texture[np.mod(np.arange(rows) * 1.2 / rows, 0.09) < 0.03, :, 3] = 190
    texture[:, np.mod(along, 2.0) < 0.1, 3] = 255
    rail = max(1, round(rows * 0.05))
    texture[:rail, :, 3] = 255
    texture[-3 * rail : -2 * rail, :, 3] = 255
    return texture


def draw_fence(
    canvas: Canvas, rng: np.random.Generator, start: tuple[float, float], stop: tuple[float, float],
    kind: str, height: float,
) -> None:  # fmt: skip
    """A fence on the ground from ``start`` to ``stop``, both (x, z)."""
    left, right = sorted((start, stop), key=lambda p: p[0] / p[1])
    corners = [
        [left[0], height, left[1]], [right[0], height, right[1]],
        [right[0], 0, right[1]], [left[0], 0, left[1]],
    ]  # fmt: skip
    quad = canvas.camera.project(corners)
    cols = int(np.clip(1.6 * abs(quad[1, 0] - quad[0, 0]), 16, 512))
    rows = int(np.clip(1.1 * max(quad[3, 1] - quad[0, 1], quad[2, 1] - quad[1, 1]), 8, 160))
    length = float(np.hypot(stop[0] - start[0], stop[1] - start[1]))
    texture = railing_texture(rng, max(length, 0.5), kind, rows, cols)
    side = 1.0 if (left[0] + right[0]) < 0 else -1.0
    light = canvas.weather.light_on((side * 0.97, 0.0, -0.24))
    canvas.brush(FENCE, (start[1] + stop[1]) / 2).texture(corners, texture, light)


def draw_hedge(
    canvas: Canvas, rng: np.random.Generator, start: tuple[float, float], stop: tuple[float, float],
    height: float, foliage: Foliage,
) -> None:  # fmt: skip
    """A clipped hedge on the ground from ``start`` to ``stop``, both (x, z)."""
    left, right = sorted((start, stop), key=lambda p: p[0] / p[1])
    corners = [
        [left[0], height, left[1]], [right[0], height, right[1]],
        [right[0], 0, right[1]], [left[0], 0, left[1]],
    ]  # fmt: skip
    quad = canvas.camera.project(corners)
    cols = int(np.clip(abs(quad[1, 0] - quad[0, 0]) * 1.2, 32, 400))
    texture = hedge_texture(rng, cols, foliage)
    side = 1.0 if (left[0] + right[0]) < 0 else -1.0
    light = canvas.weather.light_on((side * 0.9, 0.3, -0.3))
    canvas.brush(TREE, (start[1] + stop[1]) / 2).texture(corners, texture, light)
