"""A data set scored at another size than its own."""

from __future__ import annotations

from collections.abc import Callable

from fleetseg.data.base import Dataset, Sample
from fleetseg.image import resize_image, resize_mask

Size = tuple[int, int]


class Resized:
    """Each sample at the size that `seen` makes of its own; labels take the id at each pixel's centre."""

    def __init__(self, dataset: Dataset, seen: Callable[[Size], Size]) -> None:
        self.name, self.split, self.labels = dataset.name, dataset.split, dataset.labels
        self._dataset = dataset
        self._seen = seen

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        size = self._seen((sample.mask.shape[1], sample.mask.shape[0]))
        return Sample(resize_image(sample.image, size), resize_mask(sample.mask, size), sample.name)
