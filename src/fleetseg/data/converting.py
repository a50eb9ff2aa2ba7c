"""Writing any data set as a folder of indexed PNGs with a ``classes.yaml``, which every tool can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from fleetseg.atomic import check_writable, write_bytes, write_text
from fleetseg.data.base import Dataset
from fleetseg.data.classes_file import CLASSES_FILE
from fleetseg.data.joined import files_of
from fleetseg.data.opening import disjoint_splits, open_dataset, source_of
from fleetseg.errors import DataError, UsageError
from fleetseg.image import IMAGE_SUFFIXES, write_mask, write_png
from fleetseg.labels import LabelSet


def convert(
    path_or_word: str | Path,
    out: Path,
    splits: Sequence[str] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write the splits (default: all that overlap in nothing) below `out`; returns how many samples each has.

    ``out/images/SPLIT/NAME.png`` and ``out/labels/SPLIT/NAME.png`` (palette, 255 unlabelled); images that are files
    of their own are copied as they are. ``classes.yaml`` is written last, so a folder that has one is whole.
    Raises `UsageError` if `out` holds a data set already or the splits have other classes than one another.
    """
    names = list(splits or disjoint_splits(source_of(path_or_word)))
    datasets = [open_dataset(path_or_word, name) for name in names]
    _check(out, names, datasets)
    check_writable(out)
    total = sum(map(len, datasets))
    done = 0
    for name, dataset in zip(names, datasets, strict=True):
        for index in range(len(dataset)):
            _write(dataset, index, out, name)
            done += 1
            if on_image is not None:
                on_image(done, total)
    write_text(out / CLASSES_FILE, classes_text(datasets[0].labels))
    return {name: len(dataset) for name, dataset in zip(names, datasets, strict=True)}


def _check(out: Path, names: list[str], datasets: list[Dataset]) -> None:
    if not names:
        raise UsageError("there is no split to convert; name one with --split")
    if (out / CLASSES_FILE).exists():
        raise UsageError(f"{out / CLASSES_FILE} exists: the folder holds a data set already; name a new one")
    if any(_lies_in(out, file) for dataset in datasets if len(dataset) for file in files_of(dataset, 0)):
        raise UsageError(f"{out}: the data that are to be converted lie in this folder; name a new one")
    for name, dataset in zip(names, datasets, strict=True):
        if dataset.labels.names != datasets[0].labels.names:
            raise UsageError(f"the split '{name}' has other classes than '{names[0]}'; convert them one by one")


def _lies_in(folder: Path, file: Path) -> bool:
    """Whether it does, as it is called or, behind links, in truth."""
    return folder.absolute() in file.absolute().parents or folder.resolve() in file.resolve().parents


def _write(dataset: Dataset, index: int, out: Path, split: str) -> None:
    sample = dataset[index]
    if (sample.mask[sample.mask != 255] >= dataset.labels.num_classes).any():
        raise DataError(f"{sample.name}: its mask holds values that are no class")
    files = files_of(dataset, index)
    # A patch of a slide and an image drawn by the program are no files of their own.
    copied = files and files[0].suffix.lower() in IMAGE_SUFFIXES and files[0].stem == sample.name
    if copied:
        write_bytes(out / "images" / split / files[0].name, files[0].read_bytes())
    else:
        write_png(out / "images" / split / f"{sample.name}.png", sample.image)
    write_mask(out / "labels" / split / f"{sample.name}.png", sample.mask, dataset.labels)


def classes_text(labels: LabelSet) -> str:
    """The ``classes.yaml`` of these classes, for files with 255 for unlabelled."""
    content = {"names": list(labels.names), "palette": [list(colour) for colour in labels.palette]}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
