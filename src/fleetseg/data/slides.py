"""Whole-slide images cut into overlapping patches on the fly: tissue found, classes balanced.

    ROOT/slides/PATIENT_1.svs            any of `slide_file.SLIDE_SUFFIXES`, or ROOT/slides/train/… for splits
    ROOT/labels/PATIENT_1.tif            a label image (TIFF or PNG): the slide's size, or smaller in proportion
    ROOT/classes.yaml                    class names in id order; without it the eight of breast biopsy

A patch is kept if enough of it is tissue: in an overview of the slide, pixels whose saturation is above Otsu's
threshold. Without folders of splits the last fifth of the slides is ``val``; a slide is never divided, for its
patches overlap. In training every class takes its turn (`balanced`), so that a rare one is not drowned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.data.annotated import UNDIVIDED, part_of
from fleetseg.data.classes_file import CLASSES_FILE, read_classes_file
from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.label_tables import named_classes
from fleetseg.data.label_values import Classes, mask_of_label
from fleetseg.data.listing import read_mask
from fleetseg.data.pairing import Fault
from fleetseg.data.slide_file import SLIDE_SUFFIXES, TIFF_SUFFIXES, Regions, SlideFile
from fleetseg.data.slide_options import DEFAULT_SLIDE_OPTIONS, SlideOptions
from fleetseg.errors import DataError
from fleetseg.image import resize_mask
from fleetseg.labels import IGNORE_INDEX

#: Longer edge of the picture in which tissue is looked for.
_OVERVIEW = 1024
#: Glass has no colour: below this saturation (of 255) nothing is tissue, whatever Otsu says of a slide without any.
_LEAST_SATURATION = 15


class Slides(FileDataset):
    """The patches of one split's slides; an item is a patch, its annotation (left, top) in pixels of level 0."""

    format = "slides"

    def __init__(
        self, root: str | Path, split: str, strict: bool = True, options: SlideOptions = DEFAULT_SLIDE_OPTIONS
    ) -> None:
        self.options = options
        self._files: dict[Path, SlideFile] = {}
        self._small_labels: dict[Path, npt.NDArray[np.uint8]] = {}
        super().__init__(root, split, strict)
        if split == "train" and options.balanced and self.items:
            self.items = tuple(self.items[place] for place in self._balanced())
            self._names = [f"{name}_{turn}" for turn, name in enumerate(self._patch_names())]
        else:
            self._names = self._patch_names()

    @classmethod
    def matches(cls, root: Path) -> bool:
        """The folder of slides is there."""
        return (root / "slides").is_dir()

    @classmethod
    def splits(cls, root: Path) -> tuple[str, ...]:
        """Folders in slides/, or the parts of a division by slide."""
        folders = sorted(path.name for path in (root / "slides").iterdir() if path.is_dir())
        # A MIRAX slide keeps its data in a folder of its own name.
        return tuple(name for name in folders if not (root / "slides" / f"{name}.mrxs").exists()) or UNDIVIDED

    def find(self) -> Found:
        """All patches with tissue, slide by slide, row by row."""
        has_names = (self.root / CLASSES_FILE).is_file()
        self.classes = read_classes_file(self.root) if has_names else Classes(named_classes("biopsy"))
        self.labels = self.classes.labels
        inside = (self.root / "slides" / self.split).is_dir()
        below = self.split if inside else ""
        slides = sorted(p for p in (self.root / "slides" / below).glob("*") if p.suffix.lower() in SLIDE_SUFFIXES)
        items, faults = [], []
        for slide in slides:
            label = _label_of(self.root / "labels" / below, slide.stem)
            if label is None:
                expected = self.root / "labels" / below / f"{slide.stem}.tif"
                faults.append(Fault("image without label", slide, f"{slide}: its label {expected} is missing"))
                continue
            items.append(Item(slide, label, slide.stem))
        found = Found(tuple(items), tuple(faults)) if inside else part_of(items, faults, self.split)
        patches = tuple(patch for item in found.items for patch in self._patches(item))
        return Found(patches, found.faults)

    def _patches(self, item: Item) -> list[Item]:
        slide = self._slide(item.image)
        edge, step = self.options.patch * self.options.downsample, self.options.step * self.options.downsample
        tissue = tissue_of(overview_of(slide))
        width, height = slide.sizes[0]
        scale = tissue.shape[1] / width
        patches = []
        for top in starts(height, edge, step):
            for left in starts(width, edge, step):
                part = tissue[round(top * scale) : max(round((top + edge) * scale), round(top * scale) + 1)]
                part = part[:, round(left * scale) : max(round((left + edge) * scale), round(left * scale) + 1)]
                if part.size and part.mean() >= self.options.tissue:
                    patches.append(Item(item.image, item.label, item.group, (left, top)))
        return patches

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """(patch, patch, 3) uint8 RGB."""
        item = self.items[index]
        left, top = item.annotation
        window = self._slide(item.image).region(round(left), round(top), self._size, self.options.downsample)
        return np.repeat(window[..., None], 3, axis=2) if window.ndim == 2 else window

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """(patch, patch) classes and 255; what lies beyond the slide is 255."""
        assert item.label is not None
        width, height = self._slide(item.image).sizes[0]
        if item.label.suffix.lower() not in TIFF_SUFFIXES:
            values = self._from_small_label(item, width)
        else:
            label = self._slide(item.label)
            scale = label.sizes[0][0] / width
            _check_proportion(item.label, label.sizes[0], (width, height))
            left, top = (round(place * scale) for place in item.annotation)
            values = _window(label, left, top, self._size, self.options.downsample * scale)
        return mask_of_label(values, self.classes, item.label)

    def _from_small_label(self, item: Item, width: int) -> npt.NDArray[np.uint8]:
        """Of a PNG, kept whole: such labels are drawn on an overview."""
        assert item.label is not None
        if item.label not in self._small_labels:
            self._small_labels[item.label] = read_mask(item.label)
        label = self._small_labels[item.label]
        _check_proportion(item.label, label.shape[::-1], self._slide(item.image).sizes[0])
        step = self.options.downsample * label.shape[1] / width
        left, top = (place * label.shape[1] / width for place in item.annotation)
        columns = np.floor(left + (np.arange(self._size[0]) + 0.5) * step).astype(int)
        lines = np.floor(top + (np.arange(self._size[1]) + 0.5) * step).astype(int)
        values = label[np.minimum(lines, label.shape[0] - 1)][:, np.minimum(columns, label.shape[1] - 1)]
        values[lines >= label.shape[0]] = self.classes.ignore_index
        values[:, columns >= label.shape[1]] = self.classes.ignore_index
        return np.asarray(values, np.uint8)

    @property
    def _size(self) -> tuple[int, int]:
        return self.options.patch, self.options.patch

    def _slide(self, path: Path) -> SlideFile:
        if path not in self._files:
            self._files[path] = SlideFile(path)
        return self._files[path]

    def _patch_names(self) -> list[str]:
        return [f"{item.image.stem}_{round(item.annotation[0])}_{round(item.annotation[1])}" for item in self.items]

    def _balanced(self) -> list[int]:
        present = [np.unique(self.read_label(item)) for item in self.items if item.label is not None]
        return balanced_order([set(ids.tolist()) - {IGNORE_INDEX} for ids in present], self.labels.num_classes)


def _window(label: SlideFile, left: int, top: int, size: tuple[int, int], downsample: float) -> npt.NDArray[np.uint8]:
    """Of a label image; where it has fewer pixels than the slide, each is repeated."""
    if downsample >= 1:
        values = label.region(left, top, size, downsample)
    else:
        small = (max(1, round(size[0] * downsample)), max(1, round(size[1] * downsample)))
        values = resize_mask(label.region(left, top, small, 1.0), size)
    if values.ndim != 2:
        raise DataError(f"{label.path}: the label has {values.shape[2]} channels; class ids in one are expected")
    return np.asarray(values, np.uint8)


def _label_of(folder: Path, stem: str) -> Path | None:
    return next((folder / f"{stem}{s}" for s in (".tif", ".tiff", ".png") if (folder / f"{stem}{s}").is_file()), None)


def _check_proportion(path: Path, size: Sequence[int], slide: tuple[int, int]) -> None:
    """`DataError` unless the label has the slide's shape, within a pixel of rounding."""
    scale = size[0] / slide[0]
    if abs(size[1] - slide[1] * scale) > 1.0 + scale:
        raise DataError(
            f"{path}: the label is {size[0]}×{size[1]} but its slide {slide[0]}×{slide[1]}; the same size, or a "
            f"smaller one in proportion, is expected"
        )


def starts(length: int, edge: float, step: float) -> list[float]:
    """Where patches begin along an edge of the slide: every `step`, the last one flush with the end."""
    if length <= edge:
        return [0.0]
    places = [number * step for number in range(int((length - edge) // step) + 1)]
    return places if places[-1] >= length - edge - 0.5 else [*places, length - edge]


def overview_of(slide: Regions) -> npt.NDArray[np.uint8]:
    """The whole slide as a picture of at most `_OVERVIEW` pixels an edge."""
    width, height = slide.sizes[0]
    downsample = max(1.0, max(width, height) / _OVERVIEW)
    size = (max(1, round(width / downsample)), max(1, round(height / downsample)))
    return slide.region(0, 0, size, downsample)


def tissue_of(overview: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(H, W, 3) uint8 → (H, W) bool: coloured pixels, by Otsu's threshold of the saturation."""
    if overview.ndim == 2:
        return np.asarray(overview < 220, bool)
    saturation = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(overview), 3), cv2.COLOR_RGB2HSV)[..., 1]
    threshold, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(saturation > max(threshold, _LEAST_SATURATION), bool)


def balanced_order(present: Sequence[set[int]], num_classes: int) -> list[int]:
    """As many patches as there are, class after class taking one that shows it; rare ones come again.

    Patches without any class come at the end, once each, as far as there is room.
    """
    holders = [[place for place, ids in enumerate(present) if class_id in ids] for class_id in range(num_classes)]
    holders = [places for places in holders if places]
    order: list[int] = []
    turn = 0
    while holders and len(order) < len(present):
        for places in holders:
            order.append(places[turn % len(places)])
        turn += 1
    return order[: len(present)] if holders else list(range(len(present)))
