"""What the data sets made of image and label files have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Sample
from fleetseg.data.pairing import Fault, sample_names
from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.image import read_image
from fleetseg.labels import IGNORE_INDEX, LabelSet


@dataclass(frozen=True)
class Item:
    """One labelled image of a split."""

    image: Path
    #: None where a split has no labels (test sets): then every pixel is unlabelled.
    label: Path | None
    #: What belongs together (sequence, slide, patient) and must not be divided among splits.
    group: str
    #: What a label file holds about this image, where one file is about many.
    annotation: Any = None


@dataclass(frozen=True)
class Found:
    """The files of a split."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...] = ()


class FileDataset(ABC):
    """A split; a subclass says how files are found (`find`) and how a label becomes a mask (`read_label`).

    Samples are decoded on access and never kept. `strict` refuses a split with files missing, which
    ``fleetseg data check`` instead lists.
    """

    #: The layout's name, as descriptions of data sets give it (``format: cityscapes``).
    format: ClassVar[str]
    labels: LabelSet

    def __init__(self, root: str | Path, split: str, strict: bool = True) -> None:
        self.root = Path(root)
        self.split = split
        if not self.root.is_dir():
            raise UsageError(f"{self.root}: there is no such data folder")
        known = self.known_splits()
        if split not in known:
            missing = self.missing_download()
            if missing is not None:
                raise DataError(missing)
            raise UnknownNameError(f"split in {self.root} named", split, known)
        self.name = self.format
        found = self.find()
        self.items, self.faults = found.items, found.faults
        if strict:
            raise_first(self.faults)
            if not self.items:
                raise DataError(f"{self.root}: the split '{split}' has no images")
        self._names = sample_names([item.image for item in self.items], self.root)

    @classmethod
    @abstractmethod
    def matches(cls, root: Path) -> bool:
        """Whether the folder has this layout, by the names of files and folders alone."""

    @classmethod
    @abstractmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """The splits that the layout has."""

    def known_splits(self) -> tuple[str, ...]:
        """The splits that this very data set has."""
        return self.splits(self.root)

    def missing_download(self) -> str | None:
        """Which download is missing, and its place, if the official layout has the split; None where it has not."""
        return None

    @abstractmethod
    def find(self) -> Found:
        """The split's files, in order; `DataError` if a whole part of the data set is missing."""

    @abstractmethod
    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """(H, W) class ids and 255 of an item that has a label; `DataError` naming the file and what is right."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        image = self.image(index)
        item = self.items[index]
        mask = self.mask(index) if item.label else np.full(image.shape[:2], IGNORE_INDEX, np.uint8)
        check_sizes(image, mask, item)
        return Sample(image, mask, self._names[index])

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of the sample."""
        path = self.items[index].image
        if not path.is_file():
            raise DataError(f"{path}: the image file is missing")
        return read_image(path)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 of the sample, without decoding its image where the label tells the size."""
        item = self.items[index]
        if item.label is None:
            return np.full(self.image(index).shape[:2], IGNORE_INDEX, np.uint8)
        return self.read_label(item)

    def sample_name(self, index: int) -> str:
        """The sample's name, without reading it."""
        return self._names[index]

    def group(self, index: int) -> str:
        """The name of what must stay together when the set is divided."""
        return self.items[index].group

    def paths(self, index: int) -> tuple[Path, Path]:
        """The image file and label file of a sample; twice the image file where there is no label."""
        item = self.items[index]
        return item.image, item.label or item.image


def check_sizes(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], item: Item) -> None:
    """`DataError` unless the image and its mask have one size."""
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{item.label}: the label is {mask.shape[1]}×{mask.shape[0]} but its image {item.image.name} is "
            f"{image.shape[1]}×{image.shape[0]}; the two should be equal"
        )


def raise_first(faults: Iterable[Fault]) -> None:
    """`DataError` for the first file without which a split is not whole; a label that no image wants does no harm."""
    harmful = [fault for fault in faults if fault.kind != "label without image"]
    if harmful:
        more = f" ({len(harmful) - 1} more faults: see fleetseg data check)" if len(harmful) > 1 else ""
        raise DataError(harmful[0].message + more)


def paired_found(images: Iterable[tuple[Path, Path | None, str]]) -> Found:
    """(image, label or None, group) whose files exist become items, the others faults."""
    items, faults = [], []
    for image, label, group in images:
        if not image.is_file():
            faults.append(Fault("missing", image, f"{image}: the image file is missing"))
        elif label is not None and not label.is_file():
            message = f"{image}: this image has no label; {label} is expected"
            faults.append(Fault("image without label", image, message))
        else:
            items.append(Item(image, label, group))
    return Found(tuple(items), tuple(faults))


def text_lines(path: Path, expected: str) -> list[str]:
    """The lines of a list file, stripped, empty ones left out; `DataError` if it is missing or no text."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; {expected}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: it cannot be read as text ({error}); {expected}") from error
    return [line.strip() for line in lines if line.strip()]
