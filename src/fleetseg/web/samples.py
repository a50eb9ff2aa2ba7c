"""The built-in scenes as pictures to try the service with."""

from __future__ import annotations

from functools import lru_cache

import cv2

from fleetseg.data.scene_dataset import Scenes

SIZE = (640, 360)
#: Places in the validation split, which training never saw; chosen to look different from each other.
_SCENES = (0, 3, 8, 11, 16, 24)
COUNT = len(_SCENES)


@lru_cache(maxsize=COUNT)
def sample_jpeg(number: int) -> bytes:
    """One of `COUNT` street scenes as a JPEG file; rendering takes a moment, so it is kept."""
    image = Scenes("val", size=SIZE)[_SCENES[number]].image
    _, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 92))
    return bytes(content)
