"""Samples in memory, and what of a training set is decoded when."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fleetseg.available_memory import available_memory
from fleetseg.data.base import Dataset, Sample

#: How many samples are looked at to tell whether all fit into memory.
PROBES = 8

#: Wraps an iterable of sample numbers with a progress display.
Track = Callable[[range, str], Iterable[int]]


def silently(numbers: range, _what: str) -> Iterable[int]:
    """A `Track` that shows nothing."""
    return numbers


class CachedSamples:
    """A data set whose decoded samples stay in memory (uint8), filled on first use or by `fill`."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.name, self.split, self.labels = dataset.name, dataset.split, dataset.labels
        self._samples: list[Sample | None] = [None] * len(dataset)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._samples[index]
        if sample is None:
            sample = self._samples[index] = self.dataset[index]
        return sample

    def fill(self, track: Track = silently) -> None:
        """Decode everything now, before worker processes copy it."""
        for index in track(range(len(self)), f"reading {self.split} images"):
            self[index]


def cached_if_it_fits(dataset: Dataset, share: float = 0.5) -> Dataset:
    """`dataset` with a cache, unless the cache would take more than `share` of the free memory.

    The size is estimated from `PROBES` samples spread over the set, as images may differ in size: `DataError` if one
    of them is broken.
    """
    cached = CachedSamples(dataset)
    count = min(PROBES, len(cached))
    probes = [cached[number * len(cached) // count] for number in range(count)]
    mean = sum(probe.image.nbytes + probe.mask.nbytes for probe in probes) / count
    return cached if mean * len(cached) <= share * available_memory() else dataset
