"""Cars, vans and trucks as extruded side profiles, seen from wherever the camera stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fleetseg.data.scenes.canvas import CAR, UNLABELLED, Brush, Canvas, Colour, FloatArray, Points


@dataclass(frozen=True)
class CarShape:
    """A side profile in metres: (along, up) from the tail at 0 clockwise over the roof to the nose.

    ``glass`` names the profile edges (by their first point) that are windows: rear and front.
    """

    profile: tuple[tuple[float, float], ...]
    belt: float
    half_width: float
    rear_glass: int
    front_glass: int
    side_windows: bool = True
    taper: float = 0.84


_HATCH = CarShape(
    (
        (0, 0.28), (0.0, 0.62), (0.06, 0.95), (0.5, 1.44), (2.1, 1.48), (2.95, 0.98), (3.8, 0.84),
        (3.98, 0.6), (3.98, 0.26),
    ),
    belt=0.96, half_width=0.86, rear_glass=2, front_glass=4,
)  # fmt: skip
_SALOON = CarShape(
    (
        (0, 0.28), (0, 0.62), (0.05, 0.98), (0.75, 1.02), (1.35, 1.42), (2.6, 1.44), (3.4, 0.98), (4.4, 0.82),
        (4.55, 0.58), (4.55, 0.26),
    ),
    belt=1.0, half_width=0.89, rear_glass=3, front_glass=5,
)  # fmt: skip
_ESTATE = CarShape(
    (
        (0, 0.3), (0, 0.64), (0.05, 1.0), (0.42, 1.48), (2.7, 1.5), (3.5, 1.0), (4.45, 0.84), (4.6, 0.6),
        (4.6, 0.28),
    ),
    belt=1.0, half_width=0.89, rear_glass=2, front_glass=4,
)  # fmt: skip
_OFFROADER = CarShape(
    (
        (0, 0.42), (0, 0.8), (0.05, 1.15), (0.3, 1.74), (2.7, 1.78), (3.3, 1.18), (4.2, 1.06), (4.4, 0.8),
        (4.4, 0.4),
    ),
    belt=1.16, half_width=0.94, rear_glass=2, front_glass=4, taper=0.9,
)  # fmt: skip
_VAN = CarShape(
    (
        (0, 0.36), (0, 0.9), (0.03, 1.35), (0.1, 2.2), (3.7, 2.24), (4.5, 1.3), (5.0, 1.05), (5.15, 0.7),
        (5.15, 0.34),
    ),
    belt=1.32, half_width=0.97, rear_glass=2, front_glass=4, side_windows=False, taper=0.93,
)  # fmt: skip
_TRUCK = CarShape(
    ((0, 0.6), (0, 1.0), (0, 1.6), (0.02, 3.1), (6.0, 3.1), (6.3, 1.6), (6.45, 1.2), (6.5, 0.8), (6.5, 0.5)),
    belt=1.6, half_width=1.12, rear_glass=-1, front_glass=4, side_windows=False, taper=1.0,
)  # fmt: skip
_SHAPES = (_HATCH, _SALOON, _ESTATE, _OFFROADER, _VAN, _TRUCK)
_SHAPE_ODDS = (0.36, 0.24, 0.17, 0.11, 0.09, 0.03)
_PAINTS: tuple[Colour, ...] = (
    (176, 180, 184), (46, 48, 52), (226, 228, 228), (150, 28, 30), (36, 64, 128), (98, 104, 110),
    (28, 72, 56), (196, 190, 174), (70, 110, 160), (206, 160, 40), (120, 20, 40), (22, 26, 38),
)  # fmt: skip
_GLASS: Colour = (44, 54, 62)
_TYRE: Colour = (26, 26, 28)

_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_WHEEL = np.stack([0 * _TURN, np.sin(_TURN), np.cos(_TURN)], 1).astype(np.float32)


@dataclass(frozen=True)
class Car:
    """A car standing with its middle at (x, z); ``heading`` 0 drives away from the camera, pi towards it."""

    shape: CarShape
    paint: Colour
    x: float
    z: float
    heading: float
    braking: bool

    @property
    def length(self) -> float:
        """Bumper to bumper, in metres."""
        return self.shape.profile[-1][0]

    def place(self, local: Points) -> FloatArray:
        """Local (sideways, up, along from the tail) points to world points (n, 3)."""
        p = np.asarray(local, np.float32)
        along = p[:, 2] - self.length / 2
        c, s = math.cos(self.heading), math.sin(self.heading)
        return np.stack([self.x + p[:, 0] * c + along * s, p[:, 1], self.z - p[:, 0] * s + along * c], 1)

    def footprint(self, grow: float = 0.0) -> FloatArray:
        """Its outline on the ground, (4, 2) as x and z."""
        half, long = self.shape.half_width + grow, self.length
        corners = [
            (-half, 0.0, -grow),
            (half, 0.0, -grow),
            (half, 0.0, long + grow),
            (-half, 0.0, long + grow),
        ]
        return self.place(corners)[:, [0, 2]]


def sample_car(rng: np.random.Generator, x: float, z: float, heading: float) -> Car:
    """A car of random shape and colour."""
    paint = np.asarray(_PAINTS[int(rng.integers(len(_PAINTS)))]) + rng.uniform(-10, 10, 3)
    shape = _SHAPES[int(rng.choice(len(_SHAPES), p=_SHAPE_ODDS))]
    return Car(shape, (float(paint[0]), float(paint[1]), float(paint[2])), x, z, heading, bool(rng.random() < 0.4))


def draw_car(canvas: Canvas, car: Car) -> None:
    """Underside and far wheels, then every face turned to the camera from far to near, then details."""
    brush = canvas.brush(CAR, car.z)
    shape = car.shape
    half, long = shape.half_width, car.length
    eye = np.array([0.0, canvas.camera.eye, 0.0])
    belly = [
        (-half * 0.94, 0.16, 0.25),
        (half * 0.94, 0.16, 0.25),
        (half * 0.94, 0.16, long - 0.25),
        (-half * 0.94, 0.16, long - 0.25),
    ]
    _draw_end_tyres(brush, car)
    for end in (0.2, long - 0.2):
        skirt = [
            (-half * 0.9, 0.14, end),
            (-half * 0.9, 0.5, end),
            (half * 0.9, 0.5, end),
            (half * 0.9, 0.14, end),
        ]
        brush.face(car.place(skirt), (24, 24, 26))
    brush.face(car.place(belly), (20, 20, 22))
    strips = []
    for i, ((a, b), (c, d)) in enumerate(zip(shape.profile[:-1], shape.profile[1:], strict=True)):
        ha, hc = _half_at(shape, b), _half_at(shape, d)
        quad = car.place([(-ha, b, a), (-hc, d, c), (hc, d, c), (ha, b, a)])
        normal = _turn(car, (0.0, c - a, -(d - b)))
        middle = quad.mean(0)
        if float(np.dot(normal, middle - eye)) < 0:
            strips.append((float(middle[2]), i, quad, normal))
    for _, i, quad, normal in sorted(strips, key=lambda s: -s[0]):
        light = canvas.weather.light_on(normal)
        brush.face(quad, car.paint, light)
        if i in (shape.rear_glass, shape.front_glass):
            brush.face(_inset(quad, 0.1), _GLASS, light)
            brush.face(
                _inset(quad, 0.1)[[1, 2]].tolist() + _inset(quad, 0.1, 0.45)[[2, 1]].tolist(),
                (92, 106, 118),
                light,
            )
    for side in (-1, 1):
        normal = _turn(car, (float(side), 0.0, 0.0))
        anchor = car.place([(side * half, 0.7, long / 2)])[0]
        if float(np.dot(normal, anchor - eye)) < 0:
            _draw_flank(brush, car, side, canvas.weather.light_on(normal))
    toward_tail = _turn(car, (0.0, 0.0, -1.0))
    if float(np.dot(toward_tail, car.place([(0, 0.6, 0)])[0] - eye)) < 0:
        _draw_tail(brush, car)
    if float(np.dot(toward_tail, car.place([(0, 0.6, long)])[0] - eye)) > 0:
        _draw_nose(brush, car)


def _half_at(shape: CarShape, up: float) -> float:
    """Half the body's width at a height: it narrows above the belt line."""
    roof = max(y for _, y in shape.profile)
    rise = min(1.0, max(0.0, (up - shape.belt) / (roof - shape.belt)))
    return shape.half_width * (1 - (1 - shape.taper) * rise)


def _turn(car: Car, normal: tuple[float, float, float]) -> tuple[float, float, float]:
    """A local direction (sideways, up, along) as a unit world direction."""
    size = math.sqrt(sum(n * n for n in normal)) or 1.0
    c, s = math.cos(car.heading), math.sin(car.heading)
    x, y, z = (n / size for n in normal)
    return (x * c + z * s, y, -x * s + z * c)


def _inset(quad: FloatArray, share: float, low: float | None = None) -> FloatArray:
    """The quad shrunk towards its middle by ``share``, and its lower edge raised to ``low`` if given."""
    inner = quad + (quad.mean(0) - quad) * share
    if low is not None:
        inner = inner.copy()
        inner[[0, 3]] = inner[[0, 3]] * (1 - low) + inner[[1, 2]] * low
        inner[[1, 2]] = inner[[0, 3]]
    return np.asarray(inner, np.float32)


def _draw_end_tyres(brush: Brush, car: Car) -> None:
    """The tyres as they show under the bumpers."""
    half, long = car.shape.half_width, car.length
    ends = sorted((0.55, long - 0.55), key=lambda e: -float(car.place([(0, 0, e)])[0, 2]))
    for end in ends:
        for side in (-1, 1):
            outer, inner = side * half * 0.97, side * half * 0.72
            brush.face(car.place([(outer, 0, end), (outer, 0.6, end), (inner, 0.6, end), (inner, 0, end)]), _TYRE)


def _draw_flank(brush: Brush, car: Car, side: int, light: float) -> None:
    """The side of the body with its windows, sill and wheels."""
    shape = car.shape
    long = car.length
    lower = [(side * shape.half_width, y, z) for z, y in shape.profile if y <= shape.belt + 0.07]
    brush.face(car.place(lower), car.paint, light)
    cabin = [(z, y) for z, y in shape.profile if y >= shape.belt - 0.05]
    brush.face(car.place([(side * _half_at(shape, y), y, z) for z, y in cabin]), car.paint, light * 0.97)
    sill = [
        (side * shape.half_width, y, z) for z, y in ((0.1, 0.2), (0.1, 0.34), (long - 0.1, 0.34), (long - 0.1, 0.2))
    ]
    brush.face(car.place(sill), (34, 34, 36), light)
    crease = [
        (side * shape.half_width, y, z) for z, y in ((0.1, 0.6), (0.1, 0.64), (long - 0.2, 0.62), (long - 0.2, 0.58))
    ]
    brush.face(car.place(crease), car.paint, light * 0.8)
    _draw_side_windows(brush, car, side, cabin, light)
    radius = 0.46 if shape is _TRUCK else 0.33
    for axle in (long * 0.19, long * 0.81):
        for size, colour, y0 in (
            (radius * 1.15, (30, 30, 32), radius),
            (radius, _TYRE, radius),
            (radius * 0.62, (140, 142, 146), radius),
        ):
            rim = _WHEEL * np.float32(size) + np.array([side * shape.half_width * 1.005, y0, axle], np.float32)
            brush.face(car.place(np.maximum(rim, (-9, 0, -9))), colour, 0.9)


def _draw_side_windows(brush: Brush, car: Car, side: int, cabin: list[tuple[float, float]], light: float) -> None:
    """Dark glass between the pillars; vans and trucks only have a cab window."""
    shape = car.shape
    base = shape.belt + 0.04
    roof = max(y for _, y in cabin)
    top = roof - 0.1
    low = sorted(z for z, y in cabin if y < shape.belt + 0.08)
    high = sorted(z for z, y in cabin if y > roof - 0.08)
    back_low, front_low = (low[0], low[-1]) if low else (high[0], high[-1])
    if shape is _SALOON:
        back_low = 0.8
    back_high, front_high = high[0] + 0.1, high[-1] - 0.05
    back_low, front_low = back_low + 0.22, front_low - 0.22
    if not shape.side_windows:
        start = car.length - 2.0
        back_low, back_high = max(back_low, start), max(back_high, start)
    if front_low - back_low < 0.3:
        return
    outline = [(back_low, base), (back_high, top), (front_high, top), (front_low, base)]
    glass = [(side * _half_at(shape, y) * 1.003, y, z) for z, y in outline]
    brush.face(car.place(glass), _GLASS, light)
    if shape.side_windows:
        for at in (0.5, 0.2):
            z = back_low + (front_low - back_low) * at
            pillar = [(z - 0.04, base), (z - 0.04, top), (z + 0.04, top), (z + 0.04, base)]
            brush.face(
                car.place([(side * _half_at(shape, y) * 1.003, y, z) for z, y in pillar]),
                car.paint,
                light * 0.85,
            )


def _draw_panel(
    brush: Brush, car: Car, along: float, box: tuple[float, float, float, float], colour: Colour, light: float
) -> None:
    """A flat rectangle (left, bottom, right, top) on the tail or nose."""
    left, bottom, right, top = box
    brush.face(
        car.place([(left, bottom, along), (left, top, along), (right, top, along), (right, bottom, along)]),
        colour,
        light,
    )


def _draw_tail(brush: Brush, car: Car) -> None:
    """Rear lamps, number plate and bumper."""
    half, belt = car.shape.half_width, car.shape.profile[2][1]
    light = brush.canvas.weather.light_on(_turn(car, (0.0, 0.0, -1.0)))
    lit = car.braking or brush.canvas.weather.lamps_lit
    lamp: Colour = (255, 56, 44) if lit else (166, 28, 28)
    low = car.shape.profile[0][1]
    _draw_panel(brush, car, -0.01, (-half * 0.98, low, half * 0.98, low + 0.22), car.paint, light * 0.72)
    for side in (-1, 1):
        inner, outer = sorted((side * half * 0.68, side * half * 0.97))
        _draw_panel(brush, car, 0.0, (inner, belt - 0.3, outer, belt - 0.03), lamp, 1.0 if lit else light)
    _draw_panel(brush, car, -0.02, (-0.26, low + 0.26, 0.26, low + 0.38), (226, 190, 60), light)
    _draw_panel(brush, car, -0.02, (-half, low + 0.2, half, low + 0.23), (30, 30, 32), light)


def _draw_nose(brush: Brush, car: Car) -> None:
    """Head lamps, grille, number plate and bumper."""
    half, long = car.shape.half_width, car.length
    top, low = car.shape.profile[-2][1], car.shape.profile[-1][1]
    light = brush.canvas.weather.light_on(_turn(car, (0.0, 0.0, 1.0)))
    lit = brush.canvas.weather.lamps_lit
    lamp: Colour = (255, 250, 222) if lit else (206, 210, 212)
    _draw_panel(brush, car, long, (-half * 0.5, top - 0.12, half * 0.5, top + 0.06), (30, 31, 34), light)
    for side in (-1, 1):
        inner, outer = sorted((side * half * 0.56, side * half * 0.95))
        _draw_panel(brush, car, long - 0.04, (inner, top - 0.06, outer, top + 0.13), lamp, 1.15 if lit else light)
    _draw_panel(brush, car, long + 0.01, (-half * 0.6, low + 0.02, half * 0.6, low + 0.12), (36, 36, 38), light)
    _draw_panel(brush, car, long + 0.01, (-0.26, low + 0.14, 0.26, low + 0.25), (226, 226, 220), light)


def draw_bonnet(canvas: Canvas, rng: np.random.Generator) -> None:
    """The camera car's own bonnet along the lower edge; CamVid leaves it unlabelled."""
    camera = canvas.camera
    rise = camera.height * float(rng.uniform(0.03, 0.075))
    across = np.linspace(-1.25, 1.25, 25)
    middle = camera.width * float(rng.uniform(0.46, 0.54))
    tone = float(rng.choice([28, 46, 120, 168]))
    brush = canvas.brush(UNLABELLED, 1.0)
    for height, light in ((1.0, 1.0), (0.72, 0.82), (0.4, 0.7)):
        arc = camera.height - rise * height * (1 - 0.75 * across**2) + 0.5
        outline = np.stack([middle + across * camera.width * 0.46, arc], 1)
        ends = [[outline[-1, 0], camera.height + 4], [outline[0, 0], camera.height + 4]]
        brush.polygon(np.concatenate([outline, ends]), (tone, tone * 1.02, tone * 1.06), light * canvas.weather.ambient)
