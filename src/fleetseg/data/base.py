"""What a data set is: classes, a split's name and samples as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
