"""Decoded samples in one file that is mapped into memory: for data sets larger than the memory.

The file holds the bytes of each image and its mask one after another; beside it lies a JSON file with their sizes.
Processes that map it share one copy of it, and the system keeps in memory what is used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.atomic import replacing, write_text
from fleetseg.data.base import Dataset, Sample
from fleetseg.data.fingerprint import cache_folder, fingerprint

#: Wraps an iterable of sample numbers with a progress display.
Track = Callable[[range, str], Iterable[int]]


@dataclass(frozen=True)
class _Place:
    offset: int
    height: int
    width: int
    name: str


class MappedSamples:
    """A split whose samples are read from the mapped file; random access, nothing is decoded."""

    def __init__(self, dataset: Dataset, path: Path) -> None:
        """`path` is what `map_samples` wrote for this very state of `dataset`."""
        self.dataset = dataset
        self.name, self.split, self.labels = dataset.name, dataset.split, dataset.labels
        self.path = path
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self._places = [_Place(*entry) for entry in content]
        self._bytes: npt.NDArray[np.uint8] = np.memmap(path, np.uint8, "r")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        place = self._places[index]
        pixels = place.height * place.width
        image = self._bytes[place.offset : place.offset + 3 * pixels]
        mask = self._bytes[place.offset + 3 * pixels : place.offset + 4 * pixels]
        shape = (place.height, place.width)
        # Views of the file, not copies: augmentation reads only the window that it needs.
        return Sample(np.asarray(image).reshape(*shape, 3), np.asarray(mask).reshape(shape), place.name)


def mapped_file(dataset: Dataset, *details: object) -> Path | None:
    """Where the decoded samples of this state of a data set are or would be; None for what has no files."""
    name = fingerprint(dataset, *details)
    return None if name is None else cache_folder() / f"samples-{name}.bin"


def free_disk(path: Path) -> int:
    """Bytes free where `path` is or would be."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def map_samples(dataset: Dataset, path: Path, track: Track) -> MappedSamples:
    """Decode every sample of `dataset` into `path`, unless that is there, and map it.

    Written whole or not at all. Raises `DataError` for a broken sample and `OutputError` if there is no room.
    """
    index = path.with_suffix(".json")
    if not (path.is_file() and index.is_file()):
        places, offset = [], 0
        with replacing(path) as temporary, temporary.open("wb") as file:
            for number in track(range(len(dataset)), f"decoding {dataset.split} images"):
                sample = dataset[number]
                height, width = sample.mask.shape
                places.append((offset, height, width, sample.name))
                offset += file.write(np.ascontiguousarray(sample.image).data.cast("B"))
                offset += file.write(np.ascontiguousarray(sample.mask).data.cast("B"))
        write_text(index, json.dumps(places))
    return MappedSamples(dataset, path)
