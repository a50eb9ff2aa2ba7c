"""The plan of a scene: where the road runs, what lines it, and where the crossings are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetseg.data.scenes.canvas import Camera

# The view ends here; beyond it only the backdrop is drawn.
VIEW_DEPTH = 75.0
_STRAIGHT_AFTER = 60.0


@dataclass(frozen=True)
class SideRoad:
    """A road opening on one side (-1 left, +1 right) between two depths."""

    side: int
    near: float
    far: float


@dataclass(frozen=True)
class Plot:
    """A stretch of one side of the street and what stands on it."""

    side: int
    near: float
    far: float
    kind: str  # "building", "house" (behind a fence), "park" (fence and trees), "hedge"
    joined: bool = False  # the next nearer plot is a building wall to wall with this one


@dataclass(frozen=True)
class Street:
    """A road in world coordinates; ``u`` is the distance in metres to the right of its centre line."""

    half_width: float
    pavement: tuple[float, float]
    offset: float
    slope: float
    curve: float
    end: float | None
    side_roads: list[SideRoad]
    zebra: float | None
    keep_left: bool
    edge_lines: str
    centre_lines: str
    plots: list[Plot] = field(default_factory=list)

    def centre(self, z: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """x of the centre line at depth ``z``."""
        depth = np.asarray(z, np.float32)
        bend = np.minimum(depth, _STRAIGHT_AFTER)
        return np.asarray(self.offset + self.slope * depth + self.curve * bend * (depth - bend / 2), np.float32)

    def x(self, u: float, z: float) -> float:
        """World x of the point ``u`` metres right of the centre line at depth ``z``."""
        return float(self.centre(z)) + u

    def heading(self, z: float) -> float:
        """Angle of the road at depth ``z``, to the right of straight ahead."""
        return float(np.arctan(self.slope + self.curve * min(z, _STRAIGHT_AFTER)))

    def edge(self, side: int) -> float:
        """``u`` of the outer edge of the pavement."""
        return side * (self.half_width + self.pavement[0 if side < 0 else 1])

    def beside(self, side: int, z: float) -> SideRoad | None:
        """The side road at that place, if there is one."""
        hits = [r for r in self.side_roads if r.side == side and r.near - 0.5 < z < r.far + 0.5]
        return hits[0] if hits else None

    @property
    def depth(self) -> float:
        """How far the street goes on: to the T-junction or out of view."""
        return self.end if self.end is not None else VIEW_DEPTH


def sample_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """A dash camera: horizon at 37-48% of the height, nearly level, looking almost straight ahead."""
    return Camera(
        width=width,
        height=height,
        focal=float(rng.uniform(0.85, 1.05)) * (width + height * 4 / 3) / 2,
        centre_x=width * float(rng.uniform(0.44, 0.56)),
        horizon=height * float(rng.uniform(0.37, 0.48)),
        eye=float(rng.uniform(1.35, 1.75)),
    )


def sample_street(rng: np.random.Generator, camera: Camera) -> Street:
    """A random street seen from a car in its own lane."""
    half = float(rng.uniform(3.1, 5.0))
    keep_left = bool(rng.random() < 0.5)
    lane = half * float(rng.uniform(0.3, 0.55))
    end = float(rng.uniform(26, 55)) if rng.random() < 0.22 else None
    roads = []
    for side in (-1, 1):
        if rng.random() < 0.4:
            near = float(rng.uniform(13, 40))
            roads.append(SideRoad(side, near, near + float(rng.uniform(6, 9))))
    street = Street(
        half_width=half,
        pavement=(float(rng.uniform(1.8, 3.6)), float(rng.uniform(1.8, 3.6))),
        offset=lane if keep_left else -lane,
        slope=float(rng.normal(0, 0.03)),
        curve=float(rng.normal(0, 0.0022)),
        end=end,
        side_roads=roads,
        zebra=float(rng.uniform(9, 22)) if rng.random() < 0.22 else None,
        keep_left=keep_left,
        edge_lines=str(rng.choice(["none", "white", "yellow", "double yellow"])),
        centre_lines=str(rng.choice(["dashed", "dashed", "long", "solid", "none"])),
    )
    for side in (-1, 1):
        street.plots.extend(_sample_side(rng, street, camera, side))
    return street


def _sample_side(rng: np.random.Generator, street: Street, camera: Camera, side: int) -> list[Plot]:
    """The row of plots on one side, near to far, leaving the side roads open."""
    character = str(rng.choice(["city", "suburb", "park", "mixed"], p=[0.36, 0.24, 0.15, 0.25]))
    weights = {
        "city": [0.88, 0.04, 0.05, 0.03],
        "suburb": [0.15, 0.6, 0.1, 0.15],
        "park": [0.0, 0.06, 0.6, 0.34],
        "mixed": [0.4, 0.25, 0.2, 0.15],
    }[character]
    plots: list[Plot] = []
    z = 0.55 * camera.nearest_visible(street.x(street.edge(side), 8.0))
    while z < street.depth - 2:
        far = min(z + float(rng.uniform(6, 13)), street.depth)
        opening = next((r for r in street.side_roads if r.side == side and r.near < far and r.far > z), None)
        if opening is not None:
            far = max(opening.near, z)
        if far - z > 2.5:
            kind = str(rng.choice(["building", "house", "park", "hedge"], p=weights))
            before = plots[-1] if plots else None
            joined = kind == "building" and before is not None and before.kind == kind and before.far == z
            plots.append(Plot(side, z, far, kind, joined))
        z = opening.far if opening is not None else far
    return plots
