"""Sky, far backdrop, road, pavements and the shadows that lie on them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.data.scenes.canvas import (
    BUILDING,
    PAVEMENT,
    ROAD,
    SKY,
    TREE,
    ByteArray,
    Canvas,
    FloatArray,
    Points,
)
from fleetseg.data.scenes.noise import TILE, noise_cut, noise_tile
from fleetseg.data.scenes.plants import draw_crown, sample_foliage
from fleetseg.data.scenes.street import Street


def draw_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """A vertical gradient with clouds that flatten towards the horizon."""
    camera, weather = canvas.camera, canvas.weather
    # Clouds have no fine detail: half the resolution is enough and four times as quick.
    band = int(camera.horizon) + 2
    rows, cols = band // 2, camera.width // 2
    fall = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.8
    top, low = np.asarray(weather.sky_top, np.float32), np.asarray(weather.sky_low, np.float32)
    sky = top * (1 - fall) + low * fall
    cut = noise_cut(rng, 1.8, int(rng.integers(150, 420)), int(rng.integers(120, 300)), stream=1)
    cloud = cv2.resize(np.asarray(cut), (cols, rows), interpolation=cv2.INTER_CUBIC)
    density = np.clip((cloud - 0.72 + 0.5 * weather.cloud_cover) * 3.2, 0, 1)[..., None]
    shade = (0.86 + 0.24 * cloud)[..., None]
    sky = sky + (np.asarray(weather.cloud_colour, np.float32) * shade - sky) * density * (0.95 - 0.5 * fall)
    canvas.image[:band] = cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), (camera.width, band))
    canvas.mask[:] = SKY


def draw_backdrop(canvas: Canvas, rng: np.random.Generator) -> None:
    """What closes the view far away: a line of trees and roofs on the horizon."""
    camera = canvas.camera
    z = 120.0
    scale = camera.pixels_per_metre(z)
    x = -5.0
    foliage = sample_foliage(rng)
    green = canvas.brush(TREE, z)
    low = camera.horizon - 2.2 * scale
    jagged = np.arange(-1, 41) / 39 * camera.width
    top = low - rng.uniform(0, 2.5, len(jagged)) * scale
    base = camera.horizon + 2 * scale
    green.polygon(np.concatenate([np.stack([jagged, top], 1), [[camera.width + 9, base], [-9, base]]]), foliage[0], 0.8)
    while x < camera.width:
        wide = float(rng.uniform(6, 16)) * scale
        tall = float(rng.uniform(4, 12)) * scale
        if rng.random() < 0.45:
            grey = float(rng.uniform(110, 180))
            walls = canvas.brush(BUILDING, z)
            y = camera.horizon + scale
            box = [
                [x, y],
                [x, y - tall],
                [x + wide / 2, y - tall * 1.25],
                [x + wide, y - tall],
                [x + wide, y],
            ]
            walls.polygon(box, (grey, grey * 0.95, grey * 0.9))
        else:
            draw_crown(green, rng, (x + wide / 2, camera.horizon - tall * 0.4), (wide * 0.6, tall * 0.6), foliage)
        x += wide * float(rng.uniform(0.8, 1.8))


def draw_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Road, markings, kerbs, pavements and grass, by tracing every pixel below the horizon to the ground."""
    camera, weather = canvas.camera, canvas.weather
    first = int(camera.horizon) + 1
    rows = np.arange(first, camera.height, dtype=np.float32)[:, None]
    z = np.minimum(camera.focal * camera.eye / (rows + 0.5 - camera.horizon), 400.0).astype(np.float32)
    pixel = z / np.float32(camera.focal)
    x = (np.arange(camera.width, dtype=np.float32)[None, :] + 0.5 - camera.centre_x) * pixel
    u = x - street.centre(z)
    road, kerb, paved = _zones(street, u, z)

    coarse, fine = _ground_noise(rng, u, z)
    asphalt = float(rng.uniform(82, 128)) + rng.uniform(-5, 5, 3)
    slabs = float(rng.uniform(130, 176)) + np.array([8, 3, -6]) * rng.uniform(0, 1.6)
    grass = np.array([92, 112, 58]) + rng.uniform(-14, 14, 3)
    surfaces = np.stack([grass, asphalt, slabs, slabs * 1.14]).astype(np.float32)
    surface = np.where(kerb, 3, np.where(paved, 2, road.view(np.uint8))).astype(np.uint8)

    shade = 1 + (coarse - 0.5) * 0.3 + (fine - 0.5) * (0.62 / (1 + pixel * 40))
    tracks = 1 - np.float32(0.07) * np.cos(u * np.float32(2 * np.pi / 1.75)) * (np.abs(u) < street.half_width)
    joints = np.maximum(_stripes(u, 0.6, 0.03, pixel), _stripes(z, 0.9, 0.03, pixel * z / camera.eye))
    shade *= np.where(road, tracks * _asphalt_repairs(street, rng, u, z), 1 - 0.26 * joints * paved)
    shade *= np.where(surface == 0, 0.55 + 0.9 * fine, 1)
    paint = _markings(street, rng, u, z, pixel, camera.eye) * road * (0.72 + 0.28 * coarse)
    colour = surfaces[surface]
    _blend(colour, paint, (226.0, 226.0, 220.0))
    _blend(colour, _yellow_lines(street, u, pixel) * road * 0.85, (206.0, 172.0, 62.0))
    colour *= (shade * np.float32(weather.light_on((0.0, 1.0, 0.0))))[..., None]
    haze = (1 - np.exp(-np.maximum(z - 4, 0) / weather.haze_distance))[..., None]
    colour += (np.asarray(weather.haze_colour, np.float32) - colour) * haze
    canvas.image[first:] = np.clip(colour, 0, 255).astype(np.uint8)
    # Grass counts as vegetation, which CamVid's eleven classes keep together with trees.
    canvas.mask[first:] = np.where(road, ROAD, np.where(paved | kerb, PAVEMENT, TREE))


def _blend(colour: FloatArray, coverage: FloatArray, paint: tuple[float, float, float]) -> None:
    """Mix ``paint`` into ``colour`` (h, w, 3) by ``coverage`` (h, w), which is zero nearly everywhere."""
    rows, cols = np.nonzero(coverage > 0.01)
    under = colour[rows, cols]
    colour[rows, cols] = under + (np.asarray(paint, np.float32) - under) * coverage[rows, cols, None]


def _zones(street: Street, u: FloatArray, z: FloatArray) -> tuple[ByteArray, ByteArray, ByteArray]:
    """Which ground points are road, kerb stone and paving; three boolean arrays like ``u``."""
    half = street.half_width
    road = np.abs(u) < half
    for opening in street.side_roads:
        road |= (u * opening.side > 0) & (z > opening.near) & (z < opening.far)
    if street.end is not None:
        road &= z < street.end + 7
        road |= (z > street.end) & (z < street.end + 7)
    paved = ~road & (u > street.edge(-1)) & (u < street.edge(1))
    if street.end is not None:
        paved |= ~road & (z >= street.end)
    kerb = paved & (np.abs(u) < half + 0.16)
    return road, kerb, paved  # type: ignore[return-value]


def _ground_noise(rng: np.random.Generator, u: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Noise fixed to the ground, in patches of metres and in grains of centimetres."""
    layers = []
    for per_metre, roughness in ((9.0, 1.3), (55.0, 0.5)):
        right, ahead = (float(v) for v in rng.uniform(0, TILE, 2))
        # The tile repeats, so cutting the index to its low bits wraps it; far away it would overflow.
        column = (u * np.float32(per_metre) + np.float32(right + 64 * TILE * per_metre)).astype(np.int32) & (TILE - 1)
        row = (z * np.float32(per_metre * 0.6) + np.float32(ahead)).astype(np.int32) & (TILE - 1)
        layers.append(noise_tile(roughness)[row, column])
    return layers[0], layers[1]


def _band(distance: npt.NDArray[np.floating], half: float, pixel: FloatArray) -> FloatArray:
    """Coverage 0..1 of a band ``half`` metres either side, softened over one pixel."""
    return np.asarray(np.clip(0.5 + (np.float32(half) - np.abs(distance)) / pixel, 0, 1), np.float32)


def _stripes(position: FloatArray, period: float, width: float, pixel: FloatArray) -> FloatArray:
    """Coverage of lines every ``period`` metres, fading where they are finer than a pixel."""
    turns = position * np.float32(1 / period)
    phase = np.abs(turns - np.floor(turns) - np.float32(0.5)) * np.float32(period)
    visible = np.clip(1.6 - 4 * pixel / period, 0, 1) * np.minimum(1, width / pixel)
    return np.asarray((phase < np.maximum(width, pixel) / 2) * visible, np.float32)


def _markings(
    street: Street, rng: np.random.Generator, u: FloatArray, z: FloatArray, pixel: FloatArray, eye: float
) -> FloatArray:
    """Coverage of white paint: centre line, edge lines, zebra crossing and the stop line at the end."""
    length = pixel * z / np.float32(eye)
    inside = np.ones_like(z)
    for opening in street.side_roads:
        inside = inside * ((z < opening.near) | (z > opening.far))
    if street.end is not None:
        inside = inside * (z < street.end - 2)
    period, dash = {"dashed": (6.0, 2.2), "long": (9.0, 6.0), "solid": (1.0, 9.0), "none": (1.0, 0.0)}[
        street.centre_lines
    ]
    phase = np.mod(z + np.float32(rng.uniform(0, period)), np.float32(period))
    dashes = np.clip(0.5 + (dash / 2 - np.abs(phase - period / 2)) / length, 0, 1) * inside
    paint = _band(u, 0.07, pixel) * dashes
    if street.edge_lines == "white":
        paint = np.maximum(paint, _band(np.abs(u) - (street.half_width - 0.35), 0.06, pixel) * inside)
    if street.zebra is not None:
        bars = np.clip(0.5 + (0.3 - np.abs(np.mod(u, np.float32(1.2)) - 0.6)) / pixel, 0, 1)
        paint = np.maximum(paint, bars * _band(z - street.zebra, 1.5, length))
        for gap in (-2.6, 2.6):
            paint = np.maximum(paint, _band(z - (street.zebra + gap), 0.13, length))
    if street.end is not None:
        paint = np.maximum(paint, _band(z - (street.end - 0.6), 0.18, length) * (np.abs(u) < street.half_width))
    return np.asarray(paint, np.float32)


def _yellow_lines(street: Street, u: FloatArray, pixel: FloatArray) -> FloatArray:
    """Coverage of the no-parking lines along the kerb."""
    if "yellow" not in street.edge_lines:
        return np.zeros_like(u)
    out = np.abs(u) - (street.half_width - 0.25)
    lines = _band(out, 0.05, pixel)
    return np.maximum(lines, _band(out + 0.2, 0.05, pixel)) if street.edge_lines != "yellow" else lines


def _asphalt_repairs(street: Street, rng: np.random.Generator, u: FloatArray, z: FloatArray) -> FloatArray:
    """Brightness of the asphalt where it was cut open and filled again, and of manhole covers."""
    tone = np.ones_like(u)
    for _ in range(int(rng.integers(0, 4))):
        left, near = float(rng.uniform(-street.half_width, street.half_width)), float(rng.uniform(4, 26))
        wide, long = float(rng.uniform(0.5, 2.2)), float(rng.uniform(1, 9))
        tone[(u > left) & (u < left + wide) & (z > near) & (z < near + long)] *= float(rng.uniform(0.82, 1.12))
    for _ in range(int(rng.integers(0, 3))):
        at, near = float(rng.uniform(-2, 2)), float(rng.uniform(5, 18))
        tone[(u - at) ** 2 + (z - near) ** 2 < 0.12] *= 0.6
    return tone


_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 12, endpoint=False)) for f in (np.cos, np.sin)], 1)


class Shadows:
    """Shadows on the ground, gathered first and laid down together so that overlaps do not add up."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._dark: ByteArray = np.zeros(canvas.mask.shape, np.uint8)

    def cast(self, ground: Points) -> None:
        """A shadow with outline ``ground`` (n, 2) as x and z."""
        self._fill(np.asarray(ground, np.float32)[None])

    def _fill(self, outlines: npt.NDArray[np.floating]) -> None:
        """Outlines (shapes, corners, 2) as x and z; what lies behind the camera is left out."""
        count, corners = outlines.shape[:2]
        ahead = np.maximum(outlines[..., 1], 1.5).ravel()
        world = np.stack([outlines[..., 0].ravel(), np.zeros_like(ahead), ahead], 1)
        pixels = np.rint(np.clip(self._canvas.camera.project(world), -9000, 9000)).astype(np.int32)
        for shape in pixels.reshape(count, corners, 2):
            cv2.fillPoly(self._dark, [shape], (255.0,))

    def cast_upright(self, x: float, z: float, height: float, half: float) -> None:
        """The shadow of something thin and upright standing at (x, z)."""
        run_x, run_z = self._canvas.weather.shadow_run
        tip_x, tip_z = x + run_x * height, z + run_z * height
        self.cast([[x - half, z], [x + half, z], [tip_x + half, tip_z], [tip_x - half, tip_z]])

    def cast_crown(self, rng: np.random.Generator, x: float, z: float, height: float, radius: float) -> None:
        """The dappled shadow of a tree crown."""
        run_x, run_z = self._canvas.weather.shadow_run
        middle = np.array([x + run_x * height, z + run_z * height])
        middles = middle + rng.normal(0, 0.5 * radius, (8, 1, 2))
        sizes = radius * rng.uniform(0.25, 0.55, (8, 1, 1))
        self._fill(middles + sizes * _CIRCLE)

    def lay_down(self) -> None:
        """Darken the ground; shadows are a little blue because the sky still lights them."""
        canvas = self._canvas
        first = int(canvas.camera.horizon) + 1
        size = max(1, canvas.camera.width // 160) * 2 + 1
        dark = cv2.GaussianBlur(self._dark, (size, size), 0)[first:]
        share = dark.astype(np.float32)[..., None] * (canvas.weather.shadow / 255)
        tint = np.array([1.0, 0.96, 0.88], np.float32)
        canvas.image[first:] = (canvas.image[first:] * (1 - share * tint)).astype(np.uint8)
