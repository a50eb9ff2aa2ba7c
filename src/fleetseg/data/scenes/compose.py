"""Puts a scene together: everything that stands on the ground is painted from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fleetseg.data.scenes.buildings import draw_building, draw_facing_row
from fleetseg.data.scenes.canvas import TREE, ByteArray, Canvas, FloatArray
from fleetseg.data.scenes.cars import Car, draw_bonnet, draw_car, sample_car
from fleetseg.data.scenes.furniture import (
    draw_bollard,
    draw_fence,
    draw_hedge,
    draw_lamp_post,
    draw_sign_post,
    draw_traffic_light,
)
from fleetseg.data.scenes.ground import Shadows, draw_backdrop, draw_ground, draw_sky
from fleetseg.data.scenes.people import draw_cyclist, draw_pedestrian
from fleetseg.data.scenes.plants import draw_tree, sample_foliage
from fleetseg.data.scenes.street import Plot, Street, sample_camera, sample_street
from fleetseg.data.scenes.weather import expose, sample_weather

_SMALLEST = 32


@dataclass
class Stage:
    """What a scene is made of while it is being planned."""

    canvas: Canvas
    street: Street
    rng: np.random.Generator
    shadows: Shadows
    _things: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def add(self, z: float, draw: Callable[[], None]) -> None:
        """Something to be painted before all that is nearer than ``z``."""
        self._things.append((z, draw))

    def paint(self) -> None:
        """Paint everything, far to near."""
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()

    def depth_in_view(self, u: float, near: float, far: float) -> float:
        """A random depth where a point ``u`` metres from the centre line is inside the picture.

        Drawn evenly in 1/z up to ``far``, so that large near objects are as frequent as in real pictures.
        """
        camera = self.canvas.camera
        closest = max(near, camera.nearest_visible(self.street.x(u, 10.0)))
        closest = max(near, camera.nearest_visible(self.street.x(u, closest)))
        limit = max(closest * 1.3, min(far, self.street.depth - 1))
        return float(1 / self.rng.uniform(1 / limit, 1 / closest))


def render_scene(seed: int, width: int = 480, height: int = 360) -> tuple[ByteArray, ByteArray]:
    """A street scene with CamVid's eleven classes; the same seed and size give the same bytes.

    Returns an RGB image (height, width, 3) uint8 and its mask (height, width) uint8, class ids 0..10 in
    CamVid's order and 255 where nothing is labelled.
    """
    if min(width, height) < _SMALLEST:
        raise ValueError(f"a scene is at least {_SMALLEST} pixels wide and high, not {width}x{height}")
    rng = np.random.default_rng(seed)
    camera = sample_camera(rng, width, height)
    canvas = Canvas(camera, sample_weather(rng))
    street = sample_street(rng, camera)
    draw_sky(canvas, rng)
    draw_backdrop(canvas, rng)
    draw_ground(canvas, street, rng)
    stage = Stage(canvas, street, rng, Shadows(canvas))
    _plan_frontage(stage)
    _plan_furniture(stage)
    _plan_people(stage, _plan_cars(stage))
    stage.shadows.lay_down()
    stage.paint()
    if rng.random() < 0.28:
        draw_bonnet(canvas, rng)
    return expose(canvas.image, canvas.weather, rng), canvas.mask


def _plan_frontage(stage: Stage) -> None:
    """Houses, hedges, fences and garden trees on both sides, and what faces a T-junction."""
    street, rng = stage.street, stage.rng
    if street.end is not None:
        z = street.end + 10
        stage.add(z, lambda: draw_facing_row(stage.canvas, street, rng, z))
    for plot in street.plots:
        _plan_plot(stage, plot)


def _plan_plot(stage: Stage, plot: Plot) -> None:
    canvas, street, rng = stage.canvas, stage.street, stage.rng
    edge = street.edge(plot.side)
    setback = 0.0
    if plot.kind == "house":
        setback = float(rng.uniform(2.0, 4.5))
    if plot.kind in ("building", "house"):
        stage.add(plot.far, lambda: draw_building(canvas, street, rng, plot, setback))
        _cast_building(stage, plot, edge + plot.side * setback, 8.0)
    foliage = sample_foliage(rng)
    ends = ((street.x(edge, plot.near), plot.near), (street.x(edge, plot.far), plot.far))
    if plot.kind in ("park", "hedge"):
        for _ in range(int(rng.integers(2, 5))):
            _plan_tree(
                stage,
                edge + plot.side * float(rng.uniform(1.5, 7)),
                float(rng.uniform(plot.near, plot.far)),
                plot.far,
            )
    elif plot.kind == "house" and rng.random() < 0.4:
        _plan_tree(stage, edge + plot.side * 1.2, float(rng.uniform(plot.near, plot.far)), plot.far - 0.05)
    if plot.kind == "hedge" or (plot.kind == "house" and rng.random() < 0.25):
        tall = float(rng.uniform(1.2, 2.4))
        stage.add(plot.far - 0.1, lambda: draw_hedge(canvas, rng, ends[0], ends[1], tall, foliage))
    elif plot.kind in ("park", "house"):
        kind = str(rng.choice(["planks", "bars", "bars", "mesh"]))
        high = float(rng.uniform(1.1, 1.9))
        stage.add(plot.far - 0.1, lambda: draw_fence(canvas, rng, ends[0], ends[1], kind, high))


def _cast_building(stage: Stage, plot: Plot, u: float, height: float) -> None:
    run_x, run_z = stage.canvas.weather.shadow_run
    if run_x * plot.side > 0:
        return
    x0, x1 = stage.street.x(u, plot.near), stage.street.x(u, plot.far)
    dx, dz = run_x * height, run_z * height
    stage.shadows.cast([[x0, plot.near], [x1, plot.far], [x1 + dx, plot.far + dz], [x0 + dx, plot.near + dz]])


def _plan_tree(stage: Stage, u: float, z: float, order: float) -> None:
    canvas, rng = stage.canvas, stage.rng
    x = stage.street.x(u, z)
    height = float(rng.uniform(4.5, 9.5))
    foliage = sample_foliage(rng)
    stage.add(order, lambda: draw_tree(canvas, rng, TREE, x, z, height, foliage))
    stage.shadows.cast_crown(rng, x, z, height * 0.65, height * 0.3)
    stage.shadows.cast_upright(x, z, height * 0.5, 0.12)


def _kerb(street: Street, side: int, inset: float) -> float:
    """``u`` of a point on the pavement ``inset`` metres from the kerb."""
    return side * (street.half_width + inset)


def _plan_furniture(stage: Stage) -> None:
    """Street trees, lamp posts, signs, lights, bollards and a guard rail along the kerbs."""
    canvas, street, rng = stage.canvas, stage.street, stage.rng
    lamp_side = -1 if rng.random() < 0.5 else 1
    for side in (-1, 1):
        if rng.random() < 0.45:
            for _ in range(int(rng.integers(1, 4))):
                u = _kerb(street, side, 0.8)
                z = stage.depth_in_view(u, 9, 50)
                if street.beside(side, z) is None:
                    _plan_tree(stage, u, z, z)
        if side == lamp_side or rng.random() < 0.45:
            _plan_lamp_posts(stage, side)
    for _ in range(int(rng.integers(2, 4))):
        _plan_sign(stage, -1 if rng.random() < 0.5 else 1)
    if street.zebra is not None or street.side_roads or street.end is not None or rng.random() < 0.2:
        for side in (-1, 1):
            u = _kerb(street, side, 0.4)
            z = stage.depth_in_view(u, 11, 30)
            x = street.x(u, z)
            stage.add(z, partial(draw_traffic_light, canvas, rng, x, z))
            stage.shadows.cast_upright(x, z, 3.2, 0.12)
    if rng.random() < 0.3:
        side = -1 if rng.random() < 0.5 else 1
        u = _kerb(street, side, 0.3)
        start = stage.depth_in_view(u, 6, 20)
        for step in range(int(rng.integers(2, 6))):
            z = start + step * 1.8
            x = street.x(u, z)
            if street.beside(side, z) is None:
                stage.add(z, partial(draw_bollard, canvas, rng, x, z))
    fenced = any(p.kind in ("park", "house") and p.near < 28 for p in street.plots)
    if rng.random() < (0.3 if fenced else 0.92):
        _plan_guard_rail(stage)


def _plan_lamp_posts(stage: Stage, side: int) -> None:
    canvas, street, rng = stage.canvas, stage.street, stage.rng
    u = _kerb(street, side, 0.45)
    z = stage.depth_in_view(u, 7, 16)
    spacing = float(rng.uniform(14, 24))
    while z < street.depth:
        x = street.x(u, z)
        if street.beside(side, z) is None:
            stage.add(z, partial(draw_lamp_post, canvas, rng, x, z, -side))
            stage.shadows.cast_upright(x, z, 7.0, 0.1)
        z += spacing


def _plan_sign(stage: Stage, side: int) -> None:
    canvas, street, rng = stage.canvas, stage.street, stage.rng
    u = _kerb(street, side, float(rng.uniform(0.35, 1.0)))
    z = stage.depth_in_view(u, 11, 34)
    x = street.x(u, z)
    stage.add(z, lambda: draw_sign_post(canvas, rng, x, z))
    stage.shadows.cast_upright(x, z, 2.8, 0.08)


def _plan_guard_rail(stage: Stage) -> None:
    """A railing between kerb and pavement, in short pieces so that people can stand behind or before it."""
    canvas, street, rng = stage.canvas, stage.street, stage.rng
    side = -1 if rng.random() < 0.5 else 1
    u = _kerb(street, side, 0.25)
    start = max(5.0, stage.depth_in_view(u, 5, 14) * 0.9)
    kind = "bars" if rng.random() < 0.7 else "mesh"
    seed = int(rng.integers(1 << 30))

    def draw_piece(start: tuple[float, float], stop: tuple[float, float]) -> None:
        # Every piece starts from the same seed: a rail has one colour along its whole length.
        draw_fence(canvas, np.random.default_rng(seed), start, stop, kind, 1.1)

    for piece in range(int(rng.integers(3, 6))):
        near, far = start + piece * 2.4, start + (piece + 1) * 2.4
        if street.beside(side, near) or street.beside(side, far) or far > street.depth:
            continue
        start_at, stop_at = (street.x(u, near), near), (street.x(u, far), far)
        stage.add((near + far) / 2, partial(draw_piece, start_at, stop_at))


def _plan_cars(stage: Stage) -> list[Car]:
    """Parked cars along the kerbs, driving cars in both lanes, sometimes one crossing."""
    street, rng = stage.street, stage.rng
    own = -1 if street.keep_left else 1
    cars: list[Car] = []
    for side in (-1, 1):
        if rng.random() < (0.62 if street.half_width > 3.6 else 0.3):
            u = side * (street.half_width - (1.0 if rng.random() < 0.75 else 0.4))
            z = max(stage.depth_in_view(u, 7, 22), 7.0)
            for _ in range(int(rng.integers(1, 5))):
                turned = rng.random() < 0.3
                heading = street.heading(z) + float(rng.normal(0, 0.03))
                away = (side == own) != turned
                if street.beside(side, z) is None:
                    cars.append(sample_car(rng, street.x(u, z), z, heading + (0 if away else np.pi)))
                z += float(rng.uniform(5.4, 9.0))
    for side, odds in ((own, 0.62), (-own, 0.6)):
        if rng.random() < odds:
            u = side * street.half_width * float(rng.uniform(0.42, 0.5))
            z = stage.depth_in_view(u, 9, 40)
            heading = street.heading(z) + (0.0 if side == own else np.pi) + float(rng.normal(0, 0.04))
            cars.append(sample_car(rng, street.x(u, z), z, heading))
    if street.end is not None and rng.random() < 0.6:
        z = street.end + float(rng.uniform(2, 5))
        cars.append(sample_car(rng, street.x(float(rng.uniform(-9, 9)), z), z, np.pi / 2 * float(rng.choice([-1, 1]))))
    elif street.side_roads and rng.random() < 0.4:
        opening = street.side_roads[0]
        z = (opening.near + opening.far) / 2
        u = opening.side * (street.half_width + float(rng.uniform(-1.5, 2.5)))
        cars.append(sample_car(rng, street.x(u, z), z, np.pi / 2 * float(rng.choice([-1, 1]))))
    if not cars:
        u = own * street.half_width * 0.45
        z = stage.depth_in_view(u, 9, 25)
        cars.append(sample_car(rng, street.x(u, z), z, street.heading(z)))
    cars = _without_overlaps(cars)
    for car in cars:
        _plan_car(stage, car)
    return cars


def _without_overlaps(cars: list[Car]) -> list[Car]:
    """Leave out cars that would stand inside an earlier one."""
    kept: list[Car] = []
    for car in cars:
        if all(abs(car.x - k.x) > 2.1 or abs(car.z - k.z) > (car.length + k.length) / 2 + 0.4 for k in kept):
            kept.append(car)
    return kept


def _plan_car(stage: Stage, car: Car) -> None:
    ground = car.footprint(0.12)
    # Ordered by its nearest corner: whatever stands beside a car stands on the pavement, behind it from here.
    stage.add(float(ground[:, 1].min()) + 0.3, lambda: draw_car(stage.canvas, car))
    run_x, run_z = stage.canvas.weather.shadow_run
    # The strip under a car is dark in any light.
    stage.shadows.cast(ground)
    hull = np.concatenate([ground, ground + np.array([run_x, run_z], np.float32) * 1.2])
    stage.shadows.cast(_convex(hull))


def _convex(points: FloatArray) -> FloatArray:
    """The convex outline of points (n, 2)."""
    centre = points.mean(0)
    turned = np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])
    return np.asarray(points[np.argsort(turned)])


def _plan_people(stage: Stage, cars: list[Car]) -> None:
    """Pedestrians alone and in groups on the pavements or crossing, and one to three cyclists."""
    canvas, street, rng = stage.canvas, stage.street, stage.rng

    def add_pedestrian(u: float, z: float) -> None:
        x = street.x(u, z)
        stage.add(z, lambda: draw_pedestrian(canvas, rng, x, z))
        stage.shadows.cast_upright(x, z, 1.6, 0.16)

    for _ in range(int(rng.integers(1, 4))):
        side = -1 if rng.random() < 0.5 else 1
        room = abs(street.edge(side)) - street.half_width
        u = _kerb(street, side, float(rng.uniform(0.35, room - 0.4)))
        z = stage.depth_in_view(u, 7.5, 28)
        for member in range(int(rng.choice([1, 1, 2, 3]))):
            add_pedestrian(u + member * float(rng.uniform(0.4, 0.7)) * -side, z + float(rng.uniform(-0.4, 0.4)))
    if street.zebra is not None or rng.random() < 0.22:
        z = street.zebra if street.zebra is not None else float(rng.uniform(12, 28))
        for _ in range(int(rng.integers(1, 3))):
            add_pedestrian(float(rng.uniform(-1, 1)) * street.half_width * 0.8, z + float(rng.uniform(-0.8, 0.8)))
    taken: list[float] = []
    for _ in range(int(rng.choice([1, 1, 2]))):
        x, z = _free_place(stage, cars)
        # Two cyclists at nearly the same place would melt into one.
        if any(abs(x - other) < 1.6 for other in taken):
            continue
        taken.append(x)
        view = "side" if rng.random() < 0.35 else "end"
        stage.add(z, partial(draw_cyclist, canvas, rng, x, z, view))
        stage.shadows.cast_upright(x, z, 1.5, 0.2)


def _free_place(stage: Stage, cars: list[Car]) -> tuple[float, float]:
    """A place (x, z) near the kerb where a cyclist is neither inside nor hidden close behind a car."""
    street, rng = stage.street, stage.rng
    x = z = 0.0
    for _ in range(6):
        side = -1 if rng.random() < 0.5 else 1
        u = side * (street.half_width - float(rng.uniform(0.5, 1.7)))
        z = stage.depth_in_view(u, 7.5, 24)
        x = street.x(u, z)
        if all(abs(car.x - x) > 1.5 or car.z > z + 3 or car.z < z - 12 for car in cars):
            break
    return x, z
