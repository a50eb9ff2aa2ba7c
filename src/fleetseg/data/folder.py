"""Any folder of images and labels with a ``classes.yaml``: the way to bring one's own data (docs/data.md).

    DIR/classes.yaml                      class names in id order, see `classes_file`
    DIR/images/…  DIR/labels/…            an image and its label have one stem: images/1.jpg, labels/1.png

A split is one of these; where two have one name, the first counts:

1. a list file, ``DIR/train.txt``: an image path and a label path a line, relative to DIR, without spaces;
2. two folders, ``DIR/images/train`` and ``DIR/labels/train``, folders inside them included;
3. if there is neither, the images directly in ``DIR/images``, sorted by name, are divided: the last fifth is
   ``val``, the rest ``train``, and ``all`` is both. The fifth is one piece because neighbouring names are often
   neighbouring frames, and an image whose neighbour was trained on measures nothing.

Labels are grey or palette images of 8 bits whose values are class ids or the file's ``ignore_index`` (255
unless ``classes.yaml`` says otherwise). JPEG is no format for labels: it does not keep the values.
"""

from __future__ import annotations

from pathlib import Path

from fleetseg.data.base import Sample
from fleetseg.data.classes_file import read_classes_file
from fleetseg.data.label_values import check_label_format, mask_of_label
from fleetseg.data.listing import read_list_file, read_pair
from fleetseg.data.pairing import Pairing, list_file_splits, pair_as_listed, pair_by_stem, sample_names
from fleetseg.errors import DataError, UnknownNameError, UsageError

#: Every image of a folder that has neither list files nor a folder a split.
WHOLE = "all"

#: One image in this many is for validation where the folder itself does not divide its images.
VAL_SHARE = 5


class Folder:
    """One split of a folder in the layout above; masks in memory have 255 for unlabelled pixels."""

    def __init__(self, root: str | Path, split: str) -> None:
        """Find the files, without reading images.

        Raises `UsageError` if the folder, its ``classes.yaml`` or the split is missing, and `DataError`
        naming an image that has no label.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise UsageError(f"{self.root}: there is no such data folder")
        self.name = self.root.resolve().name
        self.split = split
        self.classes = read_classes_file(self.root)
        self.labels = self.classes.labels
        self._pairs = _complete_pairs(folder_pairing(self.root, split), self.root, split)
        self._names = sample_names([image for image, _ in self._pairs], self.root)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        image_path, label_path = self._pairs[index]
        check_label_format(label_path)
        image, values = read_pair(image_path, label_path, self.classes)
        return Sample(image, mask_of_label(values, self.classes, label_path), self._names[index])

    def paths(self, index: int) -> tuple[Path, Path]:
        """The image file and label file of a sample."""
        return self._pairs[index]


def folder_splits(root: Path) -> tuple[str, ...]:
    """Names of the splits that a folder has, sorted; `UsageError` if it has no images folder and no lists."""
    images = root / "images"
    names = set(list_file_splits(root))
    if images.is_dir():
        names |= {path.name for path in images.iterdir() if path.is_dir() and not path.name.startswith(".")}
        names = names or {"train", "val"}
    if not names:
        raise UsageError(f"{root}: it has no folder 'images' (beside it, 'labels' holds a label an image)")
    return tuple(sorted(names))


def folder_pairing(root: Path, split: str) -> Pairing:
    """Images and labels of a split; `UnknownNameError` if there is no such split."""
    if split in list_file_splits(root):
        return pair_as_listed(read_list_file(root, split))
    if (root / "images" / split).is_dir():
        return pair_by_stem(root / "images" / split, root / "labels" / split)
    known = folder_splits(root)
    divided = any((root / "images" / name).is_dir() for name in known) or bool(list_file_splits(root))
    if divided or split not in (*known, WHOLE):
        raise UnknownNameError(f"split in {root} named", split, known)
    return _part(pair_by_stem(root / "images", root / "labels", inside=False), split)


def _part(pairing: Pairing, split: str) -> Pairing:
    """The train or val part of an undivided folder; its faults belong to the train part."""
    if split == WHOLE:
        return pairing
    val = len(pairing.pairs) // VAL_SHARE or min(1, len(pairing.pairs) - 1)
    border = len(pairing.pairs) - val
    if split == "val":
        return Pairing(pairing.pairs[border:])
    return Pairing(pairing.pairs[:border], pairing.faults)


def _complete_pairs(pairing: Pairing, root: Path, split: str) -> tuple[tuple[Path, Path], ...]:
    """The pairs; `DataError` for the first missing file. A label that no image wants does no harm."""
    faults = [fault for fault in pairing.faults if fault.kind != "label without image"]
    if faults:
        more = f" ({len(faults) - 1} more faults: see fleetseg data check)" if len(faults) > 1 else ""
        raise DataError(faults[0].message + more)
    if not pairing.pairs:
        raise DataError(f"{root}: the split '{split}' has no images (PNG, JPEG, TIFF, WebP, BMP)")
    return pairing.pairs
