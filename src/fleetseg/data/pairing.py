"""Which image belongs to which label, and what is wrong with the files' names alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleetseg.image import IMAGE_SUFFIXES

#: Names that only a split has.
USUAL_SPLITS = frozenset({"train", "val", "test"})

FaultKind = Literal["image without label", "label without image", "missing", "same name twice"]


@dataclass(frozen=True)
class Fault:
    """A file that takes part in no pair; `message` is a sentence that begins with its path."""

    kind: FaultKind
    path: Path
    message: str


@dataclass(frozen=True)
class Pairing:
    """Image and label files in order, and the files that are in no pair."""

    pairs: tuple[tuple[Path, Path], ...]
    faults: tuple[Fault, ...] = ()


def pair_by_stem(images: Path, labels: Path, inside: bool = True) -> Pairing:
    """Pair the files of two folders, sorted, by path without suffix; `inside`: folders within too."""
    image_files, faults = _files_by_stem(images, inside)
    label_files, label_faults = _files_by_stem(labels, inside)
    faults += label_faults
    for stem, path in image_files.items():
        if stem not in label_files:
            faults.append(_without_label(path, labels / f"{stem}.png"))
    for stem, path in label_files.items():
        if stem not in image_files:
            faults.append(_without_image(path, images / f"{stem}.png"))
    pairs = tuple((path, label_files[stem]) for stem, path in image_files.items() if stem in label_files)
    return Pairing(pairs, tuple(faults))


def list_file_splits(root: Path) -> tuple[str, ...]:
    """Splits that have a list file in `root`: text files whose first line names two images.

    A README.txt is none. One called train, val or test is a list whatever it holds: its faults get reported.
    """
    return tuple(
        sorted(
            path.stem
            for path in root.glob("*.txt")
            if path.is_file() and (path.stem in USUAL_SPLITS or _begins_as_list(path))
        )
    )


def _begins_as_list(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    words = first.split()
    return len(words) == 2 and all(Path(word).suffix.lower() in IMAGE_SUFFIXES for word in words)


def pair_as_listed(listed: Iterable[tuple[Path, Path]]) -> Pairing:
    """The pairs of a list file whose files exist, in its order; a fault for each other one."""
    pairs, faults = [], []
    for image, label in listed:
        if image.is_file() and label.is_file():
            pairs.append((image, label))
        elif image.is_file():
            faults.append(_without_label(image, label))
        elif label.is_file():
            faults.append(_without_image(label, image))
        else:
            faults.append(Fault("missing", image, f"{image}: the image and its label {label} are missing"))
    return Pairing(tuple(pairs), tuple(faults))


def sample_names(images: Sequence[Path], root: Path) -> list[str]:
    """A name for each image that no other one has: its stem, or its path below `root` where stems repeat."""
    stems = [path.stem for path in images]
    if len(set(stems)) == len(stems):
        return stems
    paths = ["_".join(path.relative_to(root).with_suffix("").parts) for path in images]
    if len(set(paths)) == len(paths):
        return paths
    return [f"{index:05d}_{stem}" for index, stem in enumerate(stems)]


def _files_by_stem(folder: Path, inside: bool) -> tuple[dict[str, Path], list[Fault]]:
    files: dict[str, Path] = {}
    faults = []
    for path in sorted(folder.rglob("*") if inside else folder.glob("*")):
        # Names with a dot in front are thumbnails, copies by macOS and unfinished downloads.
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        first = files.setdefault(stem, path)
        if first is not path:
            message = f"{path}: it has the name of {first.name} beside it; one of the two should go"
            faults.append(Fault("same name twice", path, message))
    return files, faults


def _without_label(image: Path, label: Path) -> Fault:
    return Fault("image without label", image, f"{image}: this image has no label; {label} is expected")


def _without_image(label: Path, image: Path) -> Fault:
    return Fault("label without image", label, f"{label}: this label has no image; {image} is expected")
