"""What the formats of annotation programs share: options, class lists, shapes drawn into masks."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fleetseg.data.division import divide
from fleetseg.data.file_dataset import FileDataset, Found, Item
from fleetseg.data.pairing import Fault
from fleetseg.data.shapes import Shape, draw_shapes
from fleetseg.errors import DataError, ImageError
from fleetseg.image import IMAGE_SUFFIXES, read_image
from fleetseg.labels import IGNORE_INDEX, LabelSet, default_palette

#: The class of pixels that nobody outlined.
BACKGROUND = "background"

#: Names under which annotation programs keep what is no class of its own.
_BACKGROUND_NAMES = frozenset({BACKGROUND, "_background_", "__background__"})
_IGNORED_NAMES = frozenset({"__ignore__", "ignore", "void", "unlabelled", "unlabeled"})

#: The parts of a set that is not divided.
UNDIVIDED = ("train", "val", "all")


@dataclass(frozen=True)
class Options:
    """What a description of a data set (`description`) may say about an annotation format."""

    #: Folder of the images, from the data folder; ``{split}`` stands for the split's name.
    images: str | None = None
    #: File or folder of the annotations, likewise.
    annotations: str | None = None
    #: Class names in id order; the format's own order without it.
    names: tuple[str, ...] | None = None
    #: What pixels are that nobody outlined.
    unannotated: Literal["background", "ignore"] = "background"


DEFAULT_OPTIONS = Options()


class AnnotatedDataset(FileDataset):
    """A split whose labels are outlines; a subclass finds them (`find`) and tells the `shapes` of an item."""

    def __init__(self, root: str | Path, split: str, strict: bool = True, options: Options = DEFAULT_OPTIONS) -> None:
        self.options = options
        super().__init__(root, split, strict)

    @classmethod
    @abstractmethod
    def splits(cls, root: Path, options: Options = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """The splits that the layout has under these options."""

    def known_splits(self) -> tuple[str, ...]:
        """Those under the own options."""
        return self.splits(self.root, self.options)

    @abstractmethod
    def shapes(self, item: Item) -> tuple[Sequence[Shape], tuple[int, int]]:
        """What is outlined in an image, later over earlier, and the image's (width, height)."""

    def set_classes(self, names: Iterable[str], keep_order: bool = False) -> None:
        """Settle the classes from the names that occur: the options' order, the format's, or by name."""
        found = list(dict.fromkeys(names))
        given = self.options.names
        if given is not None:
            for name in found:
                if name not in given and not _is_special(name):
                    raise DataError(
                        f"{self.root}: the annotations have the label '{name}', which is not among 'names': "
                        f"{', '.join(given)}"
                    )
        classes = [name for name in (given or found) if given or not _is_special(name)]
        if given is None and not keep_order:
            classes.sort()
        self.labels, self._ids = classes_with_background(classes, self.options.unannotated == "background")
        for name in found:
            if name not in self._ids:
                self._ids[name] = IGNORE_INDEX if name.lower() in _IGNORED_NAMES else self.background

    @property
    def background(self) -> int:
        """The class id of pixels that nobody outlined."""
        return self._ids[BACKGROUND] if self.options.unannotated == "background" else IGNORE_INDEX

    def read_label(self, item: Item) -> npt.NDArray[np.uint8]:
        """The classes, background among them unless the options say otherwise, and 255."""
        shapes, size = self.shapes(item)
        if min(size) < 1:
            raise DataError(f"{item.label}: the image is {size[0]}×{size[1]}; width and height above 0 are expected")
        try:
            return draw_shapes(shapes, size, self._ids, self.background)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{item.label}: an outline of {item.image.name} cannot be drawn ({error})") from error


def _is_special(name: str) -> bool:
    return name.lower() in _BACKGROUND_NAMES or name.lower() in _IGNORED_NAMES


def classes_with_background(names: Sequence[str], background: bool) -> tuple[LabelSet, dict[str, int]]:
    """Classes and ids by name; a `background` that is not among the names becomes class 0, in black."""
    classes = list(names)
    added = background and not any(name.lower() in _BACKGROUND_NAMES for name in classes)
    palette = list(default_palette(len(classes)))
    if added:
        classes.insert(0, BACKGROUND)
        palette.insert(0, (0, 0, 0))
    labels = LabelSet(tuple(classes), tuple(palette))
    ids = {name: class_id for class_id, name in enumerate(classes)}
    for name, class_id in list(ids.items()):
        if name.lower() in _BACKGROUND_NAMES:
            ids[BACKGROUND] = class_id
    return labels, ids


def part_of(items: Sequence[Item], faults: Sequence[Fault], split: str) -> Found:
    """train, val or all of items that nobody divided: the last fifth by group is val."""
    if split == "all":
        return Found(tuple(items), tuple(faults))
    chosen = divide([item.group for item in items])[split]
    return Found(tuple(items[index] for index in chosen), tuple(faults) if split == "train" else ())


def missing_image(place: Path, listing: Path) -> Fault:
    """An image that is not at `place`, though the annotation file `listing` names it."""
    return Fault("missing", place, f"{place}: the image is missing; {listing} lists it")


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file; `DataError` with the place of the fault."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; {expected}") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: it is no valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); {expected}"
        ) from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: it cannot be read as JSON ({error}); {expected}") from error


@contextmanager
def expecting(path: Path | None, expected: str) -> Iterator[None]:
    """Turn stumbling over a file's unforeseen content within the block into a `DataError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: it is not as expected ({type(error).__name__}: {error}); {expected}") from error


def image_beside(folders: Iterable[Path], name: str) -> Path | None:
    """The image file called `name` in the first folder that has it; also by its last part alone."""
    tried = list(folders)
    for candidate in dict.fromkeys((name.replace("\\", "/"), Path(name.replace("\\", "/")).name)):
        for folder in tried:
            path = folder / candidate
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                return path
    return None


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, as `read_image` gives it."""
    if not path.is_file():
        raise ImageError(f"{path}: the image file is missing")
    image = read_image(path)
    return image.shape[1], image.shape[0]
