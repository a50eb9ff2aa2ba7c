"""A data set at another size: ESPNet trains on Cityscapes at half resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset, Sample
from fleetseg.data.joined import files_of, mask_of
from fleetseg.image import resize_image, resize_mask


class Resized:
    """Every sample brought to one (width, height): images by area averages, masks by the id at each centre."""

    def __init__(self, base: Dataset, size: tuple[int, int]) -> None:
        self.base, self.size = base, size
        self.name, self.split, self.labels = base.name, base.split, base.labels

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        sample = self.base[index]
        return Sample(resize_image(sample.image, self.size), resize_mask(sample.mask, self.size), sample.name)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask alone."""
        return resize_mask(mask_of(self.base, index), self.size)

    def paths(self, index: int) -> tuple[Path, ...]:
        """The base's files."""
        return files_of(self.base, index)
