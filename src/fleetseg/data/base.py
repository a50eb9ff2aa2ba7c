"""What a data set is: classes, a split's name and samples as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fleetseg.labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """One labelled image."""

    #: (H, W, 3) uint8 RGB.
    image: npt.NDArray[np.uint8]
    #: (H, W) uint8: class ids, and 255 for unlabelled pixels.
    mask: npt.NDArray[np.uint8]
    #: Unique within its split; names output files.
    name: str


class Dataset(Protocol):
    """A split of a data set. Iterating by index is random access; nothing is cached unless a class says so."""

    name: str
    split: str
    labels: LabelSet

    def __len__(self) -> int:
        """How many samples the split has."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """The sample at 0 ≤ index < len; `DataError` if its files are broken."""
        ...


@runtime_checkable
class HasInstances(Protocol):
    """What a data set that tells single objects apart has beside `Dataset`: instance scores (iIoU) need it."""

    def instances(self, index: int) -> npt.NDArray[np.int32]:
        """(H, W) int32 of the sample's size: 0 where there is no single object, else a number of its own for each.

        An object's class is the mask's value at its pixels. Groups (a crowd, a row of parked cars drawn as one)
        and classes that are not counted in objects are 0. `DataError` if the file is missing or broken.
        """
        ...
