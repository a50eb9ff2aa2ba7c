"""How a network sees windows: of which size, how many at once, at which scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.grid import ALIGNMENT
from fleetseg.app.huge.plan import Size, WindowOptions
from fleetseg.errors import ImageError, UsageError
from fleetseg.runtime import Model
from fleetseg.runtime.test_time import ViewedModel

#: What networks that do not say it were trained on.
_USUAL_SIZE = (512, 512)


def window_size(model: Model, wanted: Size | None) -> Size:
    """(width, height): what was asked for, what the network was compiled for, or twice what it was trained on.

    Twice, because a network sees several hundred pixels around each: in windows of its training size 4 to 7% of the
    pixels of a street depend on the grid, in those of twice the size 2% at most (docs/huge-images.md).

    `UsageError` if a compiled network would have to see another size.
    """
    fixed = model.fixed_size
    if fixed is not None and wanted not in (None, fixed):
        raise UsageError(
            f"{model.source}: was compiled for {fixed[0]}×{fixed[1]} and sees no windows of {wanted[0]}×{wanted[1]}; "
            f"leave --window out or compile it for that size"
        )
    if fixed is not None:
        return fixed
    train = model.metadata.train_size or _USUAL_SIZE
    width, height = wanted or (2 * train[0], 2 * train[1])
    return -(-width // ALIGNMENT) * ALIGNMENT, -(-height // ALIGNMENT) * ALIGNMENT


class Sight:
    """Calls the network on windows of one size."""

    def __init__(self, model: Model, options: WindowOptions) -> None:
        """`UsageError` for views that a compiled network cannot see, and for a network of other channels than RGB."""
        channels = model.metadata.network.in_channels
        if channels != 3:
            raise UsageError(f"{model.source}: sees {channels} channels; windows of images have 3, RGB")
        self._model = model
        self._viewed = None if options.views.plain else ViewedModel(model, None, options.views)

    def __call__(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float32]]:
        """(H, W, 3) uint8 RGB of one size → (C, H, W) float32 probabilities of each; `MemoryError` without room."""
        height, width = pictures[0].shape[:2]
        whole = [self._filled(picture) for picture in pictures]
        try:
            if self._viewed is None:
                found = self._model.probabilities_of(whole)
            else:
                found = [self._viewed.probabilities(picture) for picture in whole]
        except ImageError as error:
            raise MemoryError(f"{self._model.source}: a window of {error}") from error
        return [probabilities[:, :height, :width] for probabilities in found]

    def _filled(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A picture at the image's end as large as a compiled network needs it: its last pixels go on."""
        fixed = self._model.fixed_size
        if fixed is None:
            return picture
        missing = fixed[1] - picture.shape[0], fixed[0] - picture.shape[1]
        return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else picture
