"""The picture being painted: a pinhole camera, an image with its mask, and brushes that paint both alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.data.scenes.weather import Weather
from fleetseg.labels import IGNORE_INDEX

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
Points = Sequence[Sequence[float]] | npt.NDArray[np.floating]

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
UNLABELLED = IGNORE_INDEX

# Sub-pixel bits of cv2's fixed-point coordinates, and the largest coordinate that survives them.
_SHIFT = 4
_FAR_OUTSIDE = 12000.0


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera. World axes in metres: x right, y up from the ground, z forward."""

    width: int
    height: int
    focal: float
    centre_x: float
    horizon: float
    eye: float

    def pixels_per_metre(self, z: float) -> float:
        """How large one metre looks at depth ``z``."""
        return self.focal / max(z, 0.5)

    def project(self, points: Points) -> FloatArray:
        """World points (n, 3) to pixel positions (n, 2)."""
        p = np.asarray(points, np.float32).reshape(-1, 3)
        scale = self.focal / np.maximum(p[:, 2], 0.5)
        out = np.empty((len(p), 2), np.float32)
        out[:, 0] = self.centre_x + p[:, 0] * scale
        out[:, 1] = self.horizon + (self.eye - p[:, 1]) * scale
        return out

    def nearest_visible(self, x: float) -> float:
        """The smallest depth at which something ``x`` metres to the side is inside the picture."""
        room = (self.width - self.centre_x) if x > 0 else self.centre_x
        return max(4.0, abs(x) * self.focal / max(room * 0.93, 1.0))


class Canvas:
    """An image (height, width, 3) uint8 RGB and its mask (height, width) uint8, painted together."""

    def __init__(self, camera: Camera, weather: Weather) -> None:
        self.camera = camera
        self.weather = weather
        self.image: ByteArray = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.mask: ByteArray = np.zeros((camera.height, camera.width), np.uint8)

    def brush(self, label: int, z: float) -> Brush:
        """A brush for one object of class ``label`` at depth ``z``: far colours fade into the haze."""
        return Brush(self, label, z)


class Brush:
    """Paints shapes of one class at one depth into both the image and the mask."""

    def __init__(self, canvas: Canvas, label: int, z: float) -> None:
        self.canvas = canvas
        self.label = label
        self.z = z
        self.haze = canvas.weather.haze_at(z)

    def as_label(self, label: int) -> Brush:
        """The same depth, another class."""
        return Brush(self.canvas, label, self.z)

    def tone(self, colour: Colour, light: float = 1.0) -> Colour:
        """``colour`` under ``light``, seen through the haze."""
        haze, k = self.canvas.weather.haze_colour, self.haze
        clear = 1 - k
        return (
            min(255.0, max(0.0, colour[0] * light)) * clear + haze[0] * k,
            min(255.0, max(0.0, colour[1] * light)) * clear + haze[1] * k,
            min(255.0, max(0.0, colour[2] * light)) * clear + haze[2] * k,
        )

    def polygon(self, pixels: Points, colour: Colour, light: float = 1.0) -> None:
        """Fill the polygon with corners ``pixels`` (n, 2)."""
        corners = _fixed_point(np.asarray(pixels, np.float32))
        # The image edge is softened, the mask edge is not: a label has no half values.
        cv2.fillPoly(self.canvas.image, [corners], self.tone(colour, light), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.canvas.mask, [corners], (float(self.label),), cv2.LINE_8, _SHIFT)

    def face(self, world: Points, colour: Colour, light: float = 1.0) -> None:
        """Fill the polygon with world corners ``world`` (n, 3)."""
        self.polygon(self.canvas.camera.project(world), colour, light)

    def line(self, start: Sequence[float], end: Sequence[float], width: float, colour: Colour) -> None:
        """A round-ended stroke ``width`` pixels thick."""
        a = (round(start[0] * 16), round(start[1] * 16))
        b = (round(end[0] * 16), round(end[1] * 16))
        thickness = max(1, round(width))
        cv2.line(self.canvas.image, a, b, self.tone(colour), thickness, cv2.LINE_AA, _SHIFT)
        cv2.line(self.canvas.mask, a, b, (float(self.label),), thickness, cv2.LINE_8, _SHIFT)

    def path(self, pixels: Points, width: float, colour: Colour) -> None:
        """A closed outline drawn ``width`` pixels thick."""
        corners = _fixed_point(np.asarray(pixels, np.float32))
        thickness = max(1, round(width))
        cv2.polylines(self.canvas.image, [corners], True, self.tone(colour), thickness, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.canvas.mask, [corners], True, (float(self.label),), thickness, cv2.LINE_8, _SHIFT)

    def ellipse(self, centre: Sequence[float], radii: Sequence[float], colour: Colour) -> None:
        """A filled upright ellipse."""
        turn = np.linspace(0, 2 * np.pi, 14 if max(radii) < 6 else 24, endpoint=False)
        rim = np.stack([centre[0] + radii[0] * np.cos(turn), centre[1] + radii[1] * np.sin(turn)], 1)
        self.polygon(rim, colour)

    def veil(self, pixels: Points, colour: Colour, opacity: float) -> None:
        """Fill a polygon see-through (spokes, glass, mesh); its mask pixels still get the label."""
        corners = np.asarray(pixels, np.float32)
        box = self._box(corners)
        if box is None:
            return
        rows, cols = box
        area = self._area(corners, rows, cols)
        patch = self.canvas.image[rows, cols]
        paint = np.asarray(self.tone(colour), np.float32)
        mixed = patch * np.float32(1 - opacity) + paint * np.float32(opacity)
        cv2.copyTo(mixed.astype(np.uint8), area, patch)
        self.canvas.mask[rows, cols][area > 0] = self.label

    def texture(self, corners: Points, texture: ByteArray, light: float = 1.0) -> None:
        """Stretch ``texture`` (rows, cols, 3 or 4 with opacity) over a world rectangle.

        ``corners`` (4, 3): top left, top right, bottom right, bottom left of the texture.
        Pixels whose opacity is zero stay unpainted and unlabelled.
        """
        quad = self.canvas.camera.project(corners)
        box = self._box(quad)
        if box is None:
            return
        rows, cols = box
        area = self._area(quad, rows, cols)
        high, wide = texture.shape[:2]
        source = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
        target = (quad - np.array([cols.start, rows.start], np.float32)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        size = (cols.stop - cols.start, rows.stop - rows.start)
        warped = cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        patch = self.canvas.image[rows, cols]
        lit = self._hazed(np.ascontiguousarray(warped[..., :3]), light)
        if texture.shape[2] == 4:
            opacity = warped[..., 3:].astype(np.float32) / 255
            lit = (patch + (lit.astype(np.float32) - patch) * opacity).astype(np.uint8)
            area[warped[..., 3] < 40] = 0
        cv2.copyTo(lit, area, patch)
        self.canvas.mask[rows, cols][area > 0] = self.label

    def _hazed(self, colours: ByteArray, light: float) -> ByteArray:
        haze = [c * self.haze for c in self.canvas.weather.haze_colour]
        scale = light * (1 - self.haze)
        table = np.clip(np.arange(256, dtype=np.float32)[:, None] * scale + haze, 0, 255)
        return np.asarray(cv2.LUT(colours, table.astype(np.uint8).reshape(1, 256, 3)), np.uint8)

    def shows(self, world: Points) -> bool:
        """Whether the bounding box of these world points touches the picture."""
        return self._box(self.canvas.camera.project(world)) is not None

    def _box(self, corners: FloatArray) -> tuple[slice, slice] | None:
        high, wide = self.canvas.mask.shape
        left, top = np.floor(corners.min(0))
        right, bottom = np.ceil(corners.max(0)) + 1
        x0, x1 = int(max(0, left)), int(min(wide, right))
        y0, y1 = int(max(0, top)), int(min(high, bottom))
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def _area(self, corners: FloatArray, rows: slice, cols: slice) -> ByteArray:
        area = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        local = corners - np.array([cols.start, rows.start], np.float32)
        cv2.fillPoly(area, [_fixed_point(local)], (1.0,), cv2.LINE_8, _SHIFT)
        return area


def _fixed_point(pixels: FloatArray) -> npt.NDArray[np.int32]:
    """Positions as cv2's fixed-point integers, kept inside what those can hold."""
    near = np.minimum(np.maximum(pixels, -_FAR_OUTSIDE), _FAR_OUTSIDE)
    return np.asarray(np.rint(near * (1 << _SHIFT)), np.int32)
