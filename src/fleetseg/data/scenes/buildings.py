"""Houses and blocks: facades with windows, doors and shops, flank walls and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fleetseg.data.scenes.canvas import BUILDING, ByteArray, Canvas, Colour
from fleetseg.data.scenes.noise import noise_bytes
from fleetseg.data.scenes.street import Plot, Street

_WALLS: tuple[Colour, ...] = (
    (158, 92, 72), (176, 118, 88), (196, 172, 132), (214, 206, 190), (186, 180, 170), (150, 142, 134),
    (206, 184, 150), (132, 84, 68), (222, 214, 196), (168, 176, 178), (190, 150, 120), (228, 220, 212),
)  # fmt: skip
_TRIMS: tuple[Colour, ...] = (
    (60, 92, 140),
    (150, 44, 40),
    (44, 96, 72),
    (52, 50, 54),
    (196, 160, 60),
    (120, 70, 110),
)
_ROOFS: tuple[Colour, ...] = ((108, 70, 58), (84, 82, 86), (128, 84, 64), (70, 72, 78))
_FLOOR = 3.1


@dataclass(frozen=True)
class House:
    """How one building looks."""

    height: float
    wall: Colour
    trim: Colour
    roof: Colour
    pitched: bool
    brick: bool
    shop: bool
    window: tuple[float, float]
    spacing: float
    lit: bool


def sample_house(rng: np.random.Generator, floors: int, lit: bool) -> House:
    """A random building with that many floors."""
    wall = np.asarray(_WALLS[int(rng.integers(len(_WALLS)))]) + rng.uniform(-14, 14, 3)
    return House(
        height=floors * _FLOOR + float(rng.uniform(0.3, 1.2)),
        wall=(float(wall[0]), float(wall[1]), float(wall[2])),
        trim=_TRIMS[int(rng.integers(len(_TRIMS)))],
        roof=_ROOFS[int(rng.integers(len(_ROOFS)))],
        pitched=floors <= 3 and bool(rng.random() < 0.75),
        brick=bool(rng.random() < 0.5),
        shop=bool(rng.random() < 0.35),
        window=(float(rng.uniform(0.9, 1.5)), float(rng.uniform(1.2, 1.9))),
        spacing=float(rng.uniform(1.9, 3.0)),
        lit=lit,
    )


def draw_building(canvas: Canvas, street: Street, rng: np.random.Generator, plot: Plot, setback: float) -> None:
    """The building on ``plot``: its flank towards the camera, its facade along the street, its roof."""
    floors = int(rng.integers(2, 4)) if plot.kind == "house" else int(rng.choice([2, 3, 3, 4, 5, 6]))
    house = sample_house(rng, floors, canvas.weather.lamps_lit)
    side, u = plot.side, street.edge(plot.side) + plot.side * setback
    near, far = plot.near, plot.far
    if plot.kind == "house":
        far -= min(2.0, (far - near) * 0.2)
    x0, x1, depth = street.x(u, near), street.x(u, far), 9.0
    light = canvas.weather.light_on((-side * 0.98, 0.0, -0.2))
    front_light = canvas.weather.light_on((0.0, 0.0, -1.0))
    top = house.height
    flank = [[x0, top, near], [x0 + side * depth, top, near], [x0 + side * depth, 0, near], [x0, 0, near]]
    brush = canvas.brush(BUILDING, near)
    if plot.joined:
        # Little of a party wall shows above the neighbour: it needs no texture.
        brush.face(flank, house.wall, front_light * 0.86)
    else:
        _draw_wall(canvas, rng, house, flank, depth, front_light * 0.92, blank=True)
    if house.pitched:
        ridge, mid = top + 2.6, side * depth / 2
        gable = [[x0, top, near], [x0 + mid, ridge, near], [x0 + side * depth, top, near]]
        brush.face(gable, house.wall, front_light * 0.9)
        eaves = side * -0.3
        slope = [
            [x0 + eaves, top - 0.15, near - 0.2], [x0 + mid, ridge, near - 0.2],
            [x1 + mid, ridge, far], [x1 + eaves, top - 0.15, far],
        ]  # fmt: skip
        brush.face(slope, house.roof, canvas.weather.light_on((-side * 0.6, 0.8, 0.0)))
        if rng.random() < 0.7:
            _draw_chimney(canvas, rng, x0 + mid, ridge, near + 0.6)
    wall = [[x0, top, near], [x1, top, far], [x1, 0, far], [x0, 0, near]]
    if side > 0:
        wall = [wall[1], wall[0], wall[3], wall[2]]
    _draw_wall(canvas, rng, house, wall, far - near, light, blank=False)
    if not house.pitched:
        rim = [[x0, top + 0.35, near], [x1, top + 0.35, far], [x1, top - 0.1, far], [x0, top - 0.1, near]]
        brush.face(rim, house.wall, light * 1.12)
    else:
        gutter = [[x0, top, near], [x1, top, far], [x1, top - 0.18, far], [x0, top - 0.18, near]]
        brush.face(gutter, (70, 68, 66))


def draw_facing_row(canvas: Canvas, street: Street, rng: np.random.Generator, z: float) -> None:
    """The buildings across a T-junction, seen from the front."""
    x = street.x(0, z) - 45
    light = canvas.weather.light_on((0.0, 0.0, -1.0))
    while x < street.x(0, z) + 45:
        wide = float(rng.uniform(7, 15))
        house = sample_house(rng, int(rng.choice([2, 3, 4, 5])), canvas.weather.lamps_lit)
        top = house.height
        if house.pitched:
            roof = [
                [x - 0.3, top, z],
                [x + 0.8, top + 2.5, z + 4],
                [x + wide - 0.8, top + 2.5, z + 4],
                [x + wide + 0.3, top, z],
            ]
            canvas.brush(BUILDING, z).face(roof, house.roof, canvas.weather.light_on((0.0, 0.8, -0.6)))
        corners = [[x, top, z], [x + wide, top, z], [x + wide, 0, z], [x, 0, z]]
        _draw_wall(canvas, rng, house, corners, wide, light, blank=False)
        x += wide + (float(rng.uniform(0, 3)) if rng.random() < 0.2 else 0.0)


def _draw_chimney(canvas: Canvas, rng: np.random.Generator, x: float, y: float, z: float) -> None:
    brush = canvas.brush(BUILDING, z)
    tone = float(rng.uniform(110, 150))
    stack = [[x - 0.4, y - 0.4, z], [x - 0.4, y + 1.2, z], [x + 0.4, y + 1.2, z], [x + 0.4, y - 0.4, z]]
    brush.face(stack, (tone, tone * 0.66, tone * 0.54), canvas.weather.light_on((0.0, 0.0, -1.0)))


def _draw_wall(
    canvas: Canvas, rng: np.random.Generator, house: House, corners: list[list[float]], length: float,
    light: float, blank: bool,
) -> None:  # fmt: skip
    """One rectangular wall; its texture is only as fine as the picture will show it."""
    nearest = min(corner[2] for corner in corners)
    farthest = max(corner[2] for corner in corners)
    brush = canvas.brush(BUILDING, (nearest + farthest) / 2)
    if not brush.shows(corners):
        return
    quad = canvas.camera.project(corners)
    across = float(np.abs(quad[0, 0] - quad[1, 0]) + np.abs(quad[3, 0] - quad[2, 0])) / 2
    tall = float(max(abs(quad[3, 1] - quad[0, 1]), abs(quad[2, 1] - quad[1, 1])))
    size = (int(np.clip(tall * 1.1, 12, 420)), int(np.clip(across * 1.3, 12, 420)))
    texture = facade_texture(rng, house, length, size, blank)
    brush.texture(corners, texture, light)


def facade_texture(
    rng: np.random.Generator, house: House, length: float, size: tuple[int, int], blank: bool
) -> ByteArray:
    """A wall (rows, cols, 3) of ``length`` by ``house.height`` metres; ``blank`` walls have few windows."""
    rows, cols = size
    shade = noise_bytes(rng, rows, cols)
    per_row = rows / house.height
    if house.brick and per_row > 9:
        courses = np.mod(np.arange(rows) / per_row, 0.3) < 0.1
        shade[courses] -= 8
    # Dirt gathers at the foot of a wall and below its eaves.
    shade[: max(1, round(0.25 * per_row))] -= 24
    shade[-max(1, round(0.5 * per_row)) :] -= 22
    levels = np.arange(256, dtype=np.float32) / 128
    bands = [cv2.LUT(shade, np.clip(levels * tone, 0, 255).astype(np.uint8)) for tone in house.wall]
    wall = np.asarray(cv2.merge(bands), np.uint8)
    _draw_openings(rng, house, wall, length, blank)
    return wall


def _draw_openings(rng: np.random.Generator, house: House, wall: ByteArray, length: float, blank: bool) -> None:
    """Windows on each floor, and doors or a shop front on the ground floor."""
    rows, cols = wall.shape[:2]
    px, py = cols / length, rows / house.height
    count = max(1, int(length / house.spacing))
    step = length / count
    floors = max(1, int(house.height / _FLOOR))
    door = int(rng.integers(count))
    keep = rng.random((floors, count)) < (0.22 if blank else 0.96)
    glow = rng.random((floors, count)) < (0.45 if house.lit else 0.0)
    kinds = rng.integers(0, 2, (floors, count))
    wide, tall = min(house.window[0], step * 0.7), house.window[1]
    panes = [_glass(float(tone)) for tone in rng.uniform(0.7, 1.35, 2)]
    if house.lit:
        panes.append((232.0, 196.0, 120.0))
    tiles = [_window_tile(wide, tall, px, py, pane) for pane in panes]
    if house.shop and not blank:
        _draw_shop(rng, house, wall, px, py, length)
    for floor in range(floors):
        if floor == 0 and house.shop and not blank:
            continue
        for column in range(count):
            middle = (column + 0.5) * step
            sill = house.height - floor * _FLOOR - 0.95
            if floor == 0 and column == door and not blank:
                _fill(wall, middle - 0.6, house.height - 2.3, 1.2, 2.3, px, py, (225, 222, 214))
                _fill(wall, middle - 0.48, house.height - 2.15, 0.96, 2.15, px, py, house.trim)
                _fill(wall, middle - 0.3, house.height - 1.95, 0.6, 0.5, px, py, (60, 70, 80))
            elif keep[floor, column]:
                pane = tiles[-1] if glow[floor, column] else tiles[int(kinds[floor, column])]
                _paste(wall, pane, middle - wide / 2 - 0.15, sill - tall - 0.12, px, py)


def _paste(wall: ByteArray, tile: ByteArray, left: float, top: float, px: float, py: float) -> None:
    """Put a tile with its top left corner at (left, top) metres; parts outside the wall are dropped."""
    x, y = max(0, round(left * px)), max(0, round(top * py))
    room = wall[y : y + tile.shape[0], x : x + tile.shape[1]]
    room[:] = tile[: room.shape[0], : room.shape[1]]


def _glass(tone: float) -> Colour:
    return (62 * tone, 74 * tone, 86 * tone)


def _window_tile(wide: float, tall: float, px: float, py: float, pane: Colour) -> ByteArray:
    """Frame, pane with a reflection of the sky, glazing bars and sill, (rows, cols, 3)."""
    tile = np.empty((max(2, round((tall + 0.3) * py)), max(2, round((wide + 0.3) * px)), 3), np.uint8)
    tile[:] = (224, 222, 216)
    left, top = 0.15, 0.12
    _fill(tile, left, top, wide, tall, px, py, pane)
    _fill(tile, left, top, wide, tall * 0.35, px, py, (pane[0] * 1.3, pane[1] * 1.3, pane[2] * 1.35))
    if px * wide > 7:
        _fill(tile, left + wide / 2 - 0.04, top, 0.08, tall, px, py, (216, 214, 208))
        _fill(tile, left, top + tall * 0.48, wide, 0.07, px, py, (216, 214, 208))
    _fill(tile, 0, top + tall + 0.05, wide + 0.3, 0.12, px, py, (186, 182, 174))
    return tile


def _draw_shop(rng: np.random.Generator, house: House, wall: ByteArray, px: float, py: float, length: float) -> None:
    """Large panes under a coloured fascia with something like lettering on it."""
    floor = house.height
    _fill(
        wall,
        0.2,
        floor - 3.2,
        length - 0.4,
        3.2,
        px,
        py,
        (house.trim[0] * 0.7, house.trim[1] * 0.7, house.trim[2] * 0.7),
    )
    _fill(wall, 0.2, floor - 3.2, length - 0.4, 0.7, px, py, house.trim)
    at = 0.8
    while at < length - 1.2:
        _fill(wall, at, floor - 3.02, float(rng.uniform(0.2, 0.5)), 0.34, px, py, (238, 234, 220))
        at += float(rng.uniform(0.5, 0.8))
    at = 0.5
    while at < length - 1.5:
        pane = float(rng.uniform(1.2, 2.4))
        glass = (226.0, 200.0, 140.0) if house.lit else _glass(float(rng.uniform(0.8, 1.5)))
        bottom = 0.0 if rng.random() < 0.25 else 0.5
        _fill(wall, at, floor - 2.4, min(pane, length - 0.5 - at), 2.4 - bottom, px, py, glass)
        at += pane + 0.15


def _fill(
    wall: ByteArray, left: float, top: float, wide: float, tall: float, px: float, py: float, colour: Colour
) -> None:
    """A rectangle given in metres from the wall's top left corner."""
    x0, y0 = max(0, round(left * px)), max(0, round(top * py))
    x1, y1 = round((left + wide) * px), round((top + tall) * py)
    wall[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = tuple(min(255, int(c)) for c in colour)
