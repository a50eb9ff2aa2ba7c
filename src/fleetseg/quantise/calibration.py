"""The images from which the ranges of maps are taken, and those on which accuracy is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fleetseg.data import Dataset, open_dataset
from fleetseg.errors import DataError, UsageError
from fleetseg.image import resize_image
from fleetseg.metadata import ExportedForm, ModelMetadata

Item = TypeVar("Item", covariant=True)
Image = npt.NDArray[np.uint8]


class SizedIterable(Sized, Iterable[Item], Protocol[Item]):
    """A collection whose length is known."""


#: (items, what is done) → the items, while somebody is told how far it is.
Track = Callable[[SizedIterable[Any], str], Iterator[Any]]


def untold(items: SizedIterable[Any], what: str) -> Iterator[Any]:  # noqa: ARG001 - a `Track`
    """Nobody is told."""
    return iter(items)


@dataclass(frozen=True)
class QuantisationData:
    """Calibration images and the split on which accuracy is measured."""

    images: tuple[Image, ...]
    accuracy: Dataset


def open_data(data: str, calibration_split: str, accuracy_split: str, count: int, channels: int) -> QuantisationData:
    """`count` images, evenly spread over the calibration split, and the accuracy split.

    `UsageError` and `DataError` as `open_dataset`, for splits without images, and for images of other channels.
    """
    if count < 1:
        raise UsageError(f"--calibration {count}: at least one image is needed")
    source = open_dataset(data, calibration_split)
    if len(source) == 0:
        raise DataError(f"{data}: its split {calibration_split} has no images; calibration needs some")
    accuracy = open_dataset(data, accuracy_split)
    if len(accuracy) == 0:
        raise DataError(f"{data}: its split {accuracy_split} has no images, on which accuracy would be measured")
    places = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int))
    images = tuple(source[int(place)].image for place in places)
    if images[0].shape[2] != channels:
        raise UsageError(f"{data}: images have {images[0].shape[2]} channels, the network takes {channels}")
    return QuantisationData(images, accuracy)


def batches(images: Iterable[Image], metadata: ModelMetadata, form: ExportedForm) -> list[npt.NDArray[Any]]:
    """What an exported file of this form takes, for each image: resized to its size, normalised unless it does so."""
    found: list[npt.NDArray[Any]] = []
    for image in images:
        seen = image if form.input_size is None else resize_image(image, form.input_size)
        found.append(np.ascontiguousarray(seen[None]) if form.preprocessing else metadata.normalisation.apply(seen))
    return found
