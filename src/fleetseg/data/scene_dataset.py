"""The built-in scenes as a data set: nothing to download, as many images as wanted."""

from __future__ import annotations

from fleetseg.data.base import Sample
from fleetseg.data.scenes import render_scene
from fleetseg.errors import UsageError
from fleetseg.labels import CAMVID_11

#: First seed and default count of each split; the ranges never overlap.
SPLITS = {"train": (0, 400), "val": (1_000_000_000, 200), "test": (2_000_000_000, 200)}

DEFAULT_SIZE = (480, 360)


class Scenes:
    """Procedural street scenes with CamVid's 11 classes; sample i of a split is always the same picture."""

    name = "scenes"
    labels = CAMVID_11

    def __init__(self, split: str, count: int | None = None, size: tuple[int, int] = DEFAULT_SIZE) -> None:
        if split not in SPLITS:
            raise UsageError(f"the built-in scenes have no split '{split}'; splits: {', '.join(SPLITS)}")
        self.split = split
        self.size = size
        self._first_seed, default_count = SPLITS[split]
        self._count = default_count if count is None else count
        if self._count < 1:
            raise UsageError(f"{self._count} built-in scenes were asked for; at least 1 is needed")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(index)
        image, mask = render_scene(self._first_seed + index, *self.size)
        return Sample(image, mask, f"scene_{self.split}_{index:05d}")
