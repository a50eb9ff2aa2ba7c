"""What can run a network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Engine(Protocol):
    """One loaded network. It takes every image size: padding to multiples of 8 is inside the network."""

    @property
    def name(self) -> str:
        """Which engine this is, as in ``fleetseg.load(…, engine=name)``."""
        ...

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, channels, H, W) normalised images → (N, classes, ⌈H/s⌉, ⌈W/s⌉) logits, s = the output stride.

        Raises `MemoryError` if the batch is too large for the memory that is free.
        """
        ...
