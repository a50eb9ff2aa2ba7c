"""What a look through a data set found: counts by class and problems by file."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fleetseg.data.class_weights import mask_pixel_counts
from fleetseg.data.label_values import Classes
from fleetseg.data.pairing import FaultKind
from fleetseg.labels import LabelSet

#: Kinds of problems beside those that the files' names alone show.
ContentFault = Literal[
    "list file",
    "no images",
    "unreadable image",
    "unreadable label",
    "label without class ids",
    "value outside the classes",
    "unequal sizes",
    "wrong label",
    "cannot be opened",
    "duplicate across splits",
]


@dataclass(frozen=True)
class Problem:
    """One fault; `message` is a sentence that begins with the file."""

    split: str
    kind: FaultKind | ContentFault
    file: str
    message: str


@dataclass
class SplitReport:
    """What a split holds; grows while its files are read."""

    split: str
    classes: Classes
    #: Labels that could be read.
    labels: int = 0
    #: (256,) int64: how often each value occurs in them, as in the files.
    values: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    #: How many images have which (width, height).
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    #: Digest of an image's pixels → its file.
    digests: dict[bytes, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Images that could be read."""
        return self.sizes.total()

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """(C,) int64: pixels of each class."""
        return self.values[: self.classes.labels.num_classes]

    @property
    def unlabelled(self) -> int:
        """Pixels with the value for unlabelled."""
        return int(self.values[self.classes.ignore_index])

    @property
    def outside(self) -> int:
        """Pixels whose value is neither a class nor unlabelled."""
        return int(self.values.sum() - self.pixels.sum()) - self.unlabelled

    def shares(self) -> npt.NDArray[np.float64]:
        """(C,) float64: per cent of the labelled pixels; 0 without any."""
        return np.asarray(100.0 * self.pixels / max(int(self.pixels.sum()), 1), np.float64)

    def unlabelled_share(self) -> float:
        """Per cent of all counted pixels."""
        return 100.0 * self.unlabelled / max(int(self.values.sum()), 1)

    def count_image(self, image: npt.NDArray[np.uint8], file: Path | str) -> None:
        """Add an (H, W, 3) image that could be read."""
        self.sizes[image.shape[1], image.shape[0]] += 1
        digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16)
        digest.update(repr(image.shape).encode())
        self.digests.setdefault(digest.digest(), str(file))

    def empty_classes(self) -> list[str]:
        """Names of the classes without a pixel in a split that has labelled ones."""
        if not self.pixels.any():
            return []
        return [name for name, count in zip(self.classes.labels.names, self.pixels, strict=True) if not count]

    def count_label(self, values: npt.NDArray[np.uint8]) -> None:
        """Add the (H, W) values of a label file."""
        self.labels += 1
        self.values += mask_pixel_counts(values)

    def add(self, kind: FaultKind | ContentFault, file: Path | str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.split, kind, str(file), message))


@dataclass(frozen=True)
class DataReport:
    """The result of `check_data`."""

    data: str
    layout: str
    labels: LabelSet
    splits: tuple[SplitReport, ...]

    @property
    def problems(self) -> list[Problem]:
        """All problems, split by split."""
        return [problem for split in self.splits for problem in split.problems]

    def to_json(self) -> dict[str, Any]:
        """Plain values: data, layout, classes, splits (by name), problems, ok; shares in per cent."""
        return {
            "data": self.data,
            "layout": self.layout,
            "classes": list(self.labels.names),
            "splits": {split.split: _split_json(split) for split in self.splits},
            "problems": [vars(problem) for problem in self.problems],
            "ok": not self.problems,
        }


def _split_json(split: SplitReport) -> dict[str, Any]:
    names = split.classes.labels.names
    return {
        "images": split.images,
        "labels": split.labels,
        "sizes": {f"{width}x{height}": count for (width, height), count in split.sizes.most_common()},
        "pixels": dict(zip(names, split.pixels.tolist(), strict=True)),
        "shares": dict(zip(names, split.shares().tolist(), strict=True)),
        "unlabelled": split.unlabelled,
        "unlabelled_share": split.unlabelled_share(),
        "outside": split.outside,
        "empty_classes": split.empty_classes(),
    }
