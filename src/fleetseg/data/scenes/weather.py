"""Light and air of a scene, and what the camera makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.data.scenes.noise import sensor_tile

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Weather:
    """Sun, sky, haze and the camera's colour response of one scene."""

    sun: tuple[float, float, float]
    ambient: float
    direct: float
    shadow: float
    sky_top: Colour
    sky_low: Colour
    cloud_cover: float
    cloud_colour: Colour
    haze_colour: Colour
    haze_distance: float
    lamps_lit: bool
    gain: Colour
    contrast: float
    lift: float
    blur: float
    grain: float

    def haze_at(self, z: float) -> float:
        """The share of haze in a colour seen from ``z`` metres away."""
        return 1 - math.exp(-max(0.0, z - 4) / self.haze_distance)

    def light_on(self, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface with that outward unit normal."""
        facing = sum(n * s for n, s in zip(normal, self.sun, strict=True))
        return self.ambient * (0.88 + 0.12 * normal[1]) + self.direct * max(0.0, facing)

    @property
    def shadow_run(self) -> tuple[float, float]:
        """Where (x, z) on the ground the shadow of a point one metre high falls."""
        return (-self.sun[0] / self.sun[1], -self.sun[2] / self.sun[1])


def sample_weather(rng: np.random.Generator) -> Weather:
    """A random weather: sunny, overcast, dusk or hazy."""
    kind = str(rng.choice(["sunny", "sunny", "sunny", "overcast", "overcast", "dusk", "haze"]))
    azimuth, low = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.0)
    if kind == "dusk":
        low = rng.uniform(0.3, 0.45)
    flat = math.cos(low)
    sun = (flat * math.sin(azimuth), math.sin(low), flat * math.cos(azimuth))
    warmth = float(rng.normal(0, 0.035))
    if kind == "sunny":
        top, bottom, cloud, cover = (70, 125, 200), (180, 208, 232), (250, 250, 250), rng.uniform(0.1, 0.6)
        ambient, direct, shadow, distance = 0.66, 0.52, rng.uniform(0.42, 0.6), rng.uniform(180, 400)
        warmth += 0.03
    elif kind == "overcast":
        top, bottom, cloud, cover = (165, 172, 182), (214, 217, 220), (236, 237, 240), rng.uniform(0.5, 0.95)
        ambient, direct, shadow, distance = 0.85, 0.08, 0.1, rng.uniform(110, 260)
    elif kind == "dusk":
        top, bottom, cloud, cover = (72, 88, 140), (244, 186, 138), (226, 158, 140), rng.uniform(0.2, 0.7)
        ambient, direct, shadow, distance = 0.56, 0.34, 0.32, rng.uniform(130, 260)
        warmth += 0.05
    else:
        top, bottom, cloud, cover = (178, 190, 203), (222, 223, 222), (235, 235, 235), rng.uniform(0, 0.4)
        ambient, direct, shadow, distance = 0.78, 0.2, 0.2, rng.uniform(45, 85)
    tint = rng.uniform(-10, 10, 3)
    return Weather(
        sun=sun, ambient=ambient, direct=direct, shadow=float(shadow),
        sky_top=_tinted(top, tint), sky_low=_tinted(bottom, tint), cloud_cover=float(cover),
        cloud_colour=cloud, haze_colour=_tinted(bottom, tint - 6), haze_distance=float(distance),
        lamps_lit=kind == "dusk",
        gain=(1 + warmth, 1.0, 1 - warmth), contrast=float(rng.uniform(0.92, 1.16)),
        lift=float(rng.uniform(-10, 10)), blur=float(rng.uniform(0.35, 0.75)),
        grain=float(rng.uniform(1.5, 4.5)),
    )  # fmt: skip


def _tinted(colour: tuple[int, int, int], tint: npt.NDArray[np.float64]) -> Colour:
    r, g, b = (float(np.clip(c + t, 0, 255)) for c, t in zip(colour, tint, strict=True))
    return (r, g, b)


def expose(image: npt.NDArray[np.uint8], weather: Weather, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """What the camera records of ``image`` (h, w, 3): colour cast, contrast, soft lens and grain."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    curve = (levels * np.asarray(weather.gain, np.float32) - 118) * weather.contrast + 118 + weather.lift
    graded = cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    soft = cv2.GaussianBlur(graded, (3, 3), weather.blur)
    high, wide = image.shape[:2]
    rows = (np.arange(high) + int(rng.integers(1024))) % 1024
    cols = (np.arange(wide) + int(rng.integers(1024))) % 1024
    grain = np.rint(sensor_tile()[rows][:, cols] * np.float32(weather.grain)).astype(np.int16)
    # One grain for all three channels: the noise a dash camera keeps after its own colour denoising.
    return np.asarray(cv2.add(soft, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U), np.uint8)
