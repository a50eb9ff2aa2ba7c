"""From a frame to its class map and the picture that people see."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetseg.app.video.source import Frame
from fleetseg.image import overlay, resize_image, with_legend
from fleetseg.labels import LabelSet
from fleetseg.runtime import Model
from fleetseg.runtime.decision import best_class, enlarged_planes, softmax

Picture = npt.NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """What the network says of one frame: a mask, or probabilities that are still to be smoothed."""

    frame: Frame
    picture: Picture
    mask: Picture | None
    probabilities: npt.NDArray[np.float32] | None = None


class Labeller:
    """Lends networks to threads; each network is used by one thread at a time."""

    def __init__(self, models: Sequence[Model], size: Size, seen: Size, smoothed: bool) -> None:
        """`size`: (width, height) of every frame; `seen`: what the network is shown."""
        self.labels: LabelSet = models[0].labels
        self._stride = models[0].metadata.network.output_stride
        self._size, self._seen, self._smoothed = size, seen, smoothed
        self._free: queue.SimpleQueue[Model] = queue.SimpleQueue()
        for model in models:
            self._free.put(model)

    def look(self, frame: Frame) -> Seen:
        """Run the network on a frame; frames of another size are resized to the first's."""
        picture = self.picture(frame)
        model = self._free.get()
        try:
            if not self._smoothed:
                return Seen(frame, picture, model.predict(picture, self._seen))
            logits = model.logits(resize_image(picture, self._seen))
        finally:
            self._free.put(model)
        return Seen(frame, picture, None, softmax(iter(logits)))

    def picture(self, frame: Frame) -> Picture:
        """The frame as (H, W, 3) RGB of the video's size."""
        return resize_image(frame.picture(), self._size)

    def mask_of(self, probabilities: npt.NDArray[np.float32]) -> Picture:
        """(C, h, w) as the network gives them → (H, W) class ids of the frame's size."""
        return best_class(enlarged_planes(probabilities, self._stride, self._seen, self._size))


class Smoother:
    """Exponential mean of the class probabilities over time: less flicker, and edges that follow a little late."""

    def __init__(self, weight: float) -> None:
        """`weight` of the past, 0 to below 1: 0.6 means that a frame counts half after about 1.4 frames."""
        self._weight = weight
        self._mean: npt.NDArray[np.float32] | None = None

    def __call__(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(C, h, w) of this frame → the mean so far."""
        if self._mean is None:
            self._mean = probabilities.copy()
        else:
            self._mean *= self._weight
            self._mean += (1 - self._weight) * probabilities
        return self._mean


class Painter:
    """Class colours over frames with a legend below, on a canvas of even sides, as most codecs want."""

    def __init__(self, labels: LabelSet, size: Size) -> None:
        width, height = size
        canvas = with_legend(np.zeros((height, width, 3), np.uint8), labels)
        down, right = canvas.shape[0] % 2, canvas.shape[1] % 2
        self._canvas = np.pad(canvas, ((0, down), (0, right), (0, 0)), mode="edge")
        self._labels = labels

    @property
    def size(self) -> Size:
        """(width, height) of the pictures."""
        return self._canvas.shape[1], self._canvas.shape[0]

    def __call__(self, picture: Picture, mask: Picture) -> Picture:
        """(H, W, 3) RGB and (H, W) class ids → (height, width, 3) RGB."""
        painted = self._canvas.copy()
        painted[: mask.shape[0], : mask.shape[1]] = overlay(picture, mask, self._labels)
        return painted
