"""Pedestrians and cyclists, drawn from limbs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fleetseg.data.scenes.canvas import BICYCLIST, PEDESTRIAN, Brush, Canvas, Colour

_CLOTHES: tuple[Colour, ...] = (
    (36, 40, 52), (60, 62, 66), (146, 40, 44), (40, 70, 124), (196, 188, 170), (92, 72, 54), (34, 88, 72),
    (206, 150, 50), (120, 60, 110), (222, 222, 220), (70, 104, 140), (28, 28, 30), (226, 110, 50),
    (110, 116, 92),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = (
    (34, 40, 58),
    (52, 64, 96),
    (40, 40, 42),
    (96, 84, 66),
    (70, 70, 74),
    (120, 112, 96),
)
_SKINS: tuple[Colour, ...] = ((222, 178, 150), (196, 148, 118), (148, 104, 78), (98, 68, 52), (232, 192, 168))
_HAIRS: tuple[Colour, ...] = ((36, 28, 24), (82, 56, 36), (150, 116, 70), (130, 128, 126), (24, 22, 24))


@dataclass(frozen=True)
class Figure:
    """Draws in metres relative to a point on the ground: right and up."""

    brush: Brush
    foot_x: float
    foot_y: float
    scale: float
    light: float

    def at(self, right: float, up: float) -> tuple[float, float]:
        """Pixel position of a point of the figure."""
        return (self.foot_x + right * self.scale, self.foot_y - up * self.scale)

    def limb(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """A chain of round-ended strokes."""
        lit = (colour[0] * self.light, colour[1] * self.light, colour[2] * self.light)
        pixels = [self.at(*p) for p in points]
        for start, end in pairwise(pixels):
            self.brush.line(start, end, width * self.scale, lit)

    def shape(self, points: list[tuple[float, float]], colour: Colour, light: float = 1.0) -> None:
        """A filled outline."""
        self.brush.polygon([self.at(*p) for p in points], colour, light * self.light)

    def blob(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour) -> None:
        """A filled ellipse."""
        lit = (colour[0] * self.light, colour[1] * self.light, colour[2] * self.light)
        self.brush.ellipse(self.at(*centre), (radii[0] * self.scale, radii[1] * self.scale), lit)

    def ring(self, centre: tuple[float, float], radii: tuple[float, float], width: float, colour: Colour) -> None:
        """A wheel: tyre around faintly shaded spokes, which belong to the object too."""
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        rim = [self.at(centre[0] + radii[0] * np.cos(t), centre[1] + radii[1] * np.sin(t)) for t in turn]
        self.brush.veil(rim, (90, 90, 92), 0.35)
        self.brush.path(rim, width * self.scale, colour)


def _figure(canvas: Canvas, label: int, x: float, z: float) -> Figure:
    foot_x, foot_y = (float(v) for v in canvas.camera.project([[x, 0, z]])[0])
    light = canvas.weather.light_on((0.3 * np.sign(canvas.weather.sun[0]), 0.3, -0.9))
    return Figure(canvas.brush(label, z), foot_x, foot_y, canvas.camera.pixels_per_metre(z), light)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    r, g, b = np.asarray(colours[int(rng.integers(len(colours)))]) + rng.uniform(-10, 10, 3)
    return (float(r), float(g), float(b))


def draw_pedestrian(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """One person walking or standing, of random build and clothes."""
    figure = _figure(canvas, PEDESTRIAN, x, z)
    tall = float(rng.uniform(1.6, 1.92)) if rng.random() < 0.88 else float(rng.uniform(1.1, 1.4))
    coat, trousers = _pick(rng, _CLOTHES), _pick(rng, _TROUSERS)
    stride = float(rng.uniform(0.12, 0.36)) if rng.random() < 0.72 else 0.06
    hips, chest = tall * 0.5, tall * 0.82
    broad = tall * float(rng.uniform(0.125, 0.15))
    swing = 1 if rng.random() < 0.5 else -1
    knee = tall * 0.27
    skirt = rng.random() < 0.2
    legs = _pick(rng, _SKINS) if skirt else trousers
    for step, shade in ((-stride * swing, 0.78), (stride * swing, 1.0)):
        tone = (legs[0] * shade, legs[1] * shade, legs[2] * shade)
        hip_x = 0.05 * np.sign(step)
        figure.limb([(hip_x, hips), (hip_x + step * 0.5, knee), (step, 0.06)], tall * 0.085, tone)
        figure.limb([(step, 0.045), (step + 0.1 * swing, 0.035)], 0.09, (34, 30, 30))
    _draw_upper_body(figure, rng, tall, hips, chest, broad, coat, stride * swing)
    if skirt:
        figure.shape(
            [
                (-broad, hips + 0.1),
                (broad, hips + 0.1),
                (broad * 1.35, knee + 0.05),
                (-broad * 1.35, knee + 0.05),
            ],
            trousers,
        )
    if rng.random() < 0.4:
        side = 1 if rng.random() < 0.5 else -1
        bag = _pick(rng, _CLOTHES)
        left, right = side * broad * 0.9, side * (broad + 0.22)
        figure.shape([(left, hips + 0.2), (right, hips + 0.2), (right, hips - 0.12), (left, hips - 0.12)], bag)
    _draw_head(figure, rng, 0.0, tall)


def _draw_upper_body(
    figure: Figure, rng: np.random.Generator, tall: float, hips: float, chest: float, broad: float,
    coat: Colour, swing: float,
) -> None:  # fmt: skip
    """Torso with a lit and a shaded half, and both arms."""
    hem = hips - tall * float(rng.choice([0.02, 0.05, 0.18]))
    arm = tall * 0.06
    dim = (coat[0] * 0.72, coat[1] * 0.72, coat[2] * 0.72)
    shoulder = chest - 0.05
    figure.limb(
        [
            (-broad, shoulder),
            (-broad - 0.05 - swing * 0.3, (hips + chest) / 2),
            (-broad - swing * 0.6, hips - 0.02),
        ],
        arm,
        dim,
    )
    body = [
        (-broad * 0.6, chest + 0.02), (broad * 0.6, chest + 0.02), (broad * 1.08, shoulder),
        (broad * 0.9, hips + 0.1), (broad, hem), (-broad, hem),
        (-broad * 0.9, hips + 0.1), (-broad * 1.08, shoulder),
    ]  # fmt: skip
    figure.shape(body, coat)
    figure.shape(
        [
            (-broad * 0.6, chest),
            (-broad * 0.15, chest),
            (-broad * 0.2, hem),
            (-broad, hem),
            (-broad * 1.08, shoulder),
        ],
        coat,
        0.8,
    )
    figure.limb(
        [
            (broad, shoulder),
            (broad + 0.05 + swing * 0.3, (hips + chest) / 2),
            (broad + swing * 0.6, hips - 0.02),
        ],
        arm,
        coat,
    )
    figure.blob((broad + swing * 0.6, hips - 0.05), (0.045, 0.05), _SKINS[0])


def _draw_head(figure: Figure, rng: np.random.Generator, x: float, tall: float) -> None:
    """Neck, face, and hair or a hat; people seen from behind show only hair."""
    skin, hair = _pick(rng, _SKINS), _pick(rng, _HAIRS)
    radius = tall * 0.068
    middle = tall - radius * 1.15
    figure.limb([(x, middle - radius * 1.5), (x, middle)], 0.09, skin)
    figure.blob((x, middle), (radius * 0.86, radius * 1.15), skin)
    if rng.random() < 0.45:
        figure.blob((x, middle + radius * 0.12), (radius * 0.95, radius * 1.1), hair)
    else:
        figure.blob((x, middle + radius * 0.62), (radius * 0.92, radius * 0.62), hair)


def draw_cyclist(canvas: Canvas, rng: np.random.Generator, x: float, z: float, view: str) -> None:
    """A rider on a bicycle, seen from the "side" or along the road ("end")."""
    figure = _figure(canvas, BICYCLIST, x, z)
    if view == "side":
        _draw_cyclist_side(figure, rng, 1 if rng.random() < 0.5 else -1)
    else:
        _draw_cyclist_end(figure, rng)


def _draw_cyclist_side(figure: Figure, rng: np.random.Generator, facing: int) -> None:
    f = facing
    frame, coat, trousers = _pick(rng, _CLOTHES), _pick(rng, _CLOTHES), _pick(rng, _TROUSERS)
    tyre: Colour = (28, 28, 30)
    for wheel in (-0.52, 0.52):
        figure.ring((wheel * f, 0.35), (0.34, 0.34), 0.06, tyre)
    crank, saddle, bars = (-0.06 * f, 0.3), (-0.2 * f, 0.95), (0.4 * f, 1.02)
    figure.limb([(-0.52 * f, 0.35), crank, (0.34 * f, 0.82), (-0.15 * f, 0.78), (-0.52 * f, 0.35)], 0.055, frame)
    figure.limb([crank, saddle], 0.055, frame)
    figure.limb([(0.52 * f, 0.35), bars, (0.5 * f, 1.06)], 0.055, frame)
    figure.limb([(-0.32 * f, 0.96), (-0.08 * f, 0.96)], 0.08, tyre)
    hip, shoulder = (-0.18 * f, 1.02), (0.14 * f, 1.5)
    dim = (trousers[0] * 0.75, trousers[1] * 0.75, trousers[2] * 0.75)
    lift = float(rng.uniform(0, 0.22))
    figure.limb([hip, (0.2 * f, 0.84 - lift / 2), (-0.02 * f, 0.42 - lift)], 0.13, dim)
    figure.limb([hip, (0.2 * f, 0.72 + lift), (0.04 * f, 0.2 + lift)], 0.14, trousers)
    figure.limb([(0.04 * f, 0.2 + lift), (0.15 * f, 0.18 + lift)], 0.08, tyre)
    figure.limb([hip, shoulder], 0.3, coat)
    figure.limb([shoulder, (0.3 * f, 1.22), (0.46 * f, 1.06)], 0.1, (coat[0] * 0.85, coat[1] * 0.85, coat[2] * 0.85))
    _draw_riders_head(figure, rng, (0.24 * f, 1.74))


def _draw_cyclist_end(figure: Figure, rng: np.random.Generator) -> None:
    coat, trousers = _pick(rng, _CLOTHES), _pick(rng, _TROUSERS)
    tyre: Colour = (28, 28, 30)
    figure.limb([(0, 0.04), (0, 0.68)], 0.075, tyre)
    figure.limb([(-0.26, 1.03), (0.26, 1.03)], 0.055, (60, 62, 66))
    figure.limb([(0, 0.6), (0, 1.0)], 0.06, _pick(rng, _CLOTHES))
    lift = float(rng.uniform(-0.1, 0.1))
    for side in (-1, 1):
        up = side * lift
        figure.limb([(side * 0.1, 0.98), (side * 0.17, 0.66 + up), (side * 0.12, 0.26 + up)], 0.14, trousers)
        figure.limb([(side * 0.11, 0.22 + up), (side * 0.14, 0.2 + up)], 0.1, tyre)
    for side in (-1, 1):
        figure.limb(
            [(side * 0.2, 1.46), (side * 0.3, 1.22), (side * 0.24, 1.05)],
            0.1,
            (coat[0] * 0.8, coat[1] * 0.8, coat[2] * 0.8),
        )
    figure.shape([(-0.13, 1.54), (0.13, 1.54), (0.24, 1.46), (0.19, 0.92), (-0.19, 0.92), (-0.24, 1.46)], coat)
    figure.shape([(-0.13, 1.54), (-0.03, 1.54), (-0.05, 0.92), (-0.19, 0.92), (-0.24, 1.46)], coat, 0.8)
    if rng.random() < 0.35:
        figure.shape([(-0.14, 1.44), (0.14, 1.44), (0.15, 1.06), (-0.15, 1.06)], _pick(rng, _CLOTHES))
    _draw_riders_head(figure, rng, (0.0, 1.7))


def _draw_riders_head(figure: Figure, rng: np.random.Generator, centre: tuple[float, float]) -> None:
    """A head with a helmet or hair."""
    x, y = centre
    figure.limb([(x * 0.8, y - 0.2), (x, y)], 0.09, _SKINS[1])
    figure.blob((x, y), (0.1, 0.13), _pick(rng, _SKINS))
    top = _pick(rng, _CLOTHES) if rng.random() < 0.65 else _pick(rng, _HAIRS)
    figure.blob((x, y + 0.06), (0.13, 0.1), top)
