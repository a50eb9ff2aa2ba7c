"""The mean instance sizes with which Cityscapes weights instances."""

from __future__ import annotations

from collections.abc import Sequence

#: Pixels of a mean instance in the training images, as published with the evaluation code.
MEAN_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "caravan": 36771.8241758242,
    "trailer": 16926.9763313609,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}


def mean_sizes_of(names: Sequence[str]) -> dict[int, float]:
    """Position in `names` → mean size, of those classes that have one."""
    return {position: MEAN_SIZES[name] for position, name in enumerate(names) if name in MEAN_SIZES}
