"""Data sets made of others: several joined, some samples chosen, classes renumbered."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset, HasInstances, Sample
from fleetseg.errors import DataError, UsageError
from fleetseg.labels import LabelSet


class Joined:
    """The samples of several splits one after another; their classes must be the same."""

    def __init__(self, parts: Sequence[Dataset], split: str) -> None:
        self.parts = tuple(parts)
        first = self.parts[0]
        for part in self.parts[1:]:
            if part.labels.names != first.labels.names:
                raise UsageError(
                    f"the split '{part.split}' has other classes than '{first.split}', so the two cannot be joined"
                )
        self.name, self.split, self.labels = first.name, split, first.labels
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        part, inside = self._place(index)
        return part[inside]

    def _place(self, index: int) -> tuple[Dataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image alone."""
        part, inside = self._place(index)
        return image_of(part, inside)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask alone."""
        part, inside = self._place(index)
        return mask_of(part, inside)

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """As `base.HasInstances`, where the part has them."""
        part, inside = self._place(index)
        return instances_of(part, inside)

    def group(self, index: int) -> str:
        """The part's group."""
        part, inside = self._place(index)
        return group_of(part, inside)

    def paths(self, index: int) -> tuple[Path, ...]:
        """The part's files."""
        part, inside = self._place(index)
        return files_of(part, inside)


class Chosen:
    """Some samples of a data set, in the order given; a sample may come several times."""

    def __init__(self, base: Dataset, indices: Sequence[int], split: str) -> None:
        self.base, self.indices = base, tuple(indices)
        self.name, self.split, self.labels = base.name, split, base.labels

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.base[self.indices[index]]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image alone."""
        return image_of(self.base, self.indices[index])

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask alone."""
        return mask_of(self.base, self.indices[index])

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """As `base.HasInstances`, where the data set has them."""
        return instances_of(self.base, self.indices[index])

    def group(self, index: int) -> str:
        """The data set's group."""
        return group_of(self.base, self.indices[index])

    def paths(self, index: int) -> tuple[Path, ...]:
        """The data set's files."""
        return files_of(self.base, self.indices[index])


class Relabelled:
    """A data set with other classes: each id replaced by a look-up table."""

    def __init__(self, base: Dataset, labels: LabelSet, table: npt.NDArray[np.uint8]) -> None:
        """`table` is (256,) uint8 from the base's ids to those of `labels`, 255 where a pixel is to be ignored."""
        self.base, self.labels, self.table = base, labels, table
        self.name, self.split = base.name, base.split

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        sample = self.base[index]
        return Sample(sample.image, self.table[sample.mask], sample.name)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image alone."""
        return image_of(self.base, index)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask alone."""
        return self.table[mask_of(self.base, index)]

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """As `base.HasInstances`, where the data set has them."""
        return instances_of(self.base, index)

    def group(self, index: int) -> str:
        """The data set's group."""
        return group_of(self.base, index)

    def paths(self, index: int) -> tuple[Path, ...]:
        """The data set's files."""
        return files_of(self.base, index)


def mask_of(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    """A sample's mask, without decoding its image where the data set can."""
    alone = getattr(dataset, "mask", None)
    return np.asarray(alone(index) if alone is not None else dataset[index].mask, np.uint8)


def image_of(dataset: Dataset, index: int) -> npt.NDArray[np.uint8]:
    """A sample's image, without reading its mask where the data set can."""
    alone = getattr(dataset, "image", None)
    return np.asarray(alone(index) if alone is not None else dataset[index].image, np.uint8)


def instances_of(dataset: Dataset, index: int) -> npt.NDArray[np.int32]:
    """A sample's instances; `DataError` if the data set tells no single objects apart."""
    if not isinstance(dataset, HasInstances):
        raise DataError(f"{dataset.name} {dataset.split}: single objects are not told apart in this data set")
    return dataset.instances(index)


def group_of(dataset: Dataset, index: int) -> str:
    """What a sample belongs to (sequence, slide, patient); its own name where the data set knows no groups."""
    group = getattr(dataset, "group", None)
    if group is not None:
        return str(group(index))
    files = files_of(dataset, index)
    return files[0].stem if files else str(index)


def files_of(dataset: Dataset, index: int) -> tuple[Path, ...]:
    """The files that a sample is made of; none for what is drawn."""
    paths = getattr(dataset, "paths", None)
    return tuple(paths(index)) if paths is not None else ()
