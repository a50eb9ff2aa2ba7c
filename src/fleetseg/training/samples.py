"""Samples in memory, and what of a training set is decoded when."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Literal

from fleetseg.available_memory import available_memory
from fleetseg.data.base import Dataset, Sample
from fleetseg.data.mapped_samples import Track, free_disk, map_samples, mapped_file
from fleetseg.errors import OutputError

#: What a recipe's data.cache may be.
CacheChoice = bool | Literal["memory", "disk", "auto"]

#: How many samples are looked at to tell whether all fit into memory.
PROBES = 8


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


def expected_bytes(dataset: Dataset) -> int:
    """How much the decoded samples take, from `PROBES` of them spread over the set: `DataError` if one is broken."""
    count = min(PROBES, len(dataset))
    probes = [dataset[number * len(dataset) // count] for number in range(count)]
    return round(sum(probe.image.nbytes + probe.mask.nbytes for probe in probes) / count * len(dataset))


def cached(
    dataset: Dataset,
    where: CacheChoice,
    share: float = 0.5,
    track: Track = silently,
    aloud: bool = True,
) -> Dataset:
    """`dataset` kept decoded in memory or in a mapped file, as `where` and the room allow; `aloud` says its size.

    memory (or true): if it takes no more than `share` of what is free. disk: a file below the cache folder, kept
    for later runs; what is drawn, not read from files, goes into memory. auto: in memory, else on disk.
    Raises `DataError` for a broken sample and, for ``disk``, `OutputError` if there is no room.
    """
    if where is False:
        return dataset
    in_memory = CachedSamples(dataset)
    size = expected_bytes(in_memory)
    path = mapped_file(dataset) if where == "disk" else None
    if path is None and size <= share * available_memory():
        return _announced(in_memory, size, "in memory", aloud)
    if where == "auto":
        path = mapped_file(dataset)
    if path is None:
        return _announced(dataset, size, "nowhere but decoded in every epoch: the memory has no room for them", aloud)
    if not path.is_file() and size > 0.9 * free_disk(path):
        if where == "disk":
            needed = f"{size / 1e9:.2f} GB"
            raise OutputError(f"{path}: the decoded images of '{dataset.split}' take {needed}, more than is free")
        return _announced(
            dataset, size, f"nowhere but decoded in every epoch: {path.parent} has no room for them", aloud
        )
    return map_samples(_announced(dataset, size, f"in {path}", aloud), path, track)


def _announced(dataset: Dataset, size: int, where: str, aloud: bool) -> Dataset:
    images = f"{len(dataset)} image{'' if len(dataset) == 1 else 's'}"
    if aloud:
        print(f"{dataset.split}: {images}, {size / 1e6:.1f} MB decoded, kept {where}", file=sys.stderr)
    return dataset
