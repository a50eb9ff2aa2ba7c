"""Whether a server would take a submission: names, number, sizes, kinds and values of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fleetseg.data.base import Dataset
from fleetseg.errors import DataError, UsageError
from fleetseg.submission.archive import SubmittedFiles
from fleetseg.submission.formats import SubmissionFormat

#: Files that operating systems leave in folders and archives.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

Size = tuple[int, int]


def check_submission(
    path: str | Path,
    form: SubmissionFormat,
    dataset: Dataset,
    progress: Callable[[range], Iterable[int]] = iter,
) -> int:
    """How many files a right submission has; `DataError` for the first thing that a server would refuse.

    `path` is a folder or zip archive with predictions for all images of the data set's split. Checked in this
    order: every image has its one file under the right name, no other file is there, each is an 8-bit PNG of
    its image's size with the format's values only.
    """
    files = SubmittedFiles(path)
    wanted = {_path(form, dataset, index): index for index in range(len(dataset))}
    names = _names(files, form, wanted)
    for index in progress(range(len(dataset))):
        name = names[index]
        values, mode = files.read(name, image_size(dataset, index))
        if form.palette and mode != "P":
            raise DataError(f"{files.where(name)}: is a grey PNG; {form.expected}")
        wrong = sorted(set(np.unique(values).tolist()) - form.allowed())
        if wrong:
            row, column = np.argwhere(values == wrong[0])[0]
            raise DataError(
                f"{files.where(name)}: the value {wrong[0]} at row {row}, column {column} is not allowed; "
                f"{form.expected}"
            )
    return len(names)


def submitted_names(path: str | Path, form: SubmissionFormat, dataset: Dataset) -> tuple[SubmittedFiles, list[str]]:
    """The files, and the name of each sample's one in order; `DataError` as `check_submission`, values not read."""
    files = SubmittedFiles(path)
    wanted = {_path(form, dataset, index): index for index in range(len(dataset))}
    found = _names(files, form, wanted)
    return files, [found[index] for index in range(len(dataset))]


def _path(form: SubmissionFormat, dataset: Dataset, index: int) -> str:
    return form.path_of(name_of(dataset, index), dataset.split)


def _names(files: SubmittedFiles, form: SubmissionFormat, wanted: dict[str, int]) -> dict[int, str]:
    """Sample index → its file; `DataError` unless there is exactly one for each and nothing else."""
    names = [name for name in files.names if not _is_litter(name)]
    of_index: dict[int, list[str]] = {}
    for name in names:
        index = _index_of(name, form, wanted)
        if index is None:
            near = min(wanted, key=lambda path: _distance(path, name), default="")
            raise DataError(
                f"{files.where(name)}: no image of the split has a prediction of this name; names are like {near}"
            )
        of_index.setdefault(index, []).append(name)
    twice = next((found for found in of_index.values() if len(found) > 1), None)
    if twice:
        raise DataError(f"{files.path}: {twice[0]} and {twice[1]} are for one image; one prediction an image is needed")
    missing = [path for path, index in wanted.items() if index not in of_index]
    if missing:
        raise DataError(
            f"{files.path}: {len(of_index)} of {len(wanted)} predictions are there; {missing[0]} is missing"
        )
    return {index: found[0] for index, found in of_index.items()}


def _index_of(name: str, form: SubmissionFormat, wanted: dict[str, int]) -> int | None:
    if form.name != "cityscapes":
        return wanted.get(name)
    # Its server takes CITY_SEQUENCE_FRAME*.png in any folder.
    path = PurePosixPath(name)
    if path.suffix != ".png":
        return None
    try:
        return wanted.get(form.path_of(path.name, ""))
    except DataError:
        return None


def _distance(path: str, name: str) -> int:
    """How many characters two names do not share: enough to show an example that looks alike."""
    return sum(((Counter(path) - Counter(name)) + (Counter(name) - Counter(path))).values())


def _is_litter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[-1] in _LITTER or "__MACOSX" in parts


def paths_of(dataset: Dataset, index: int) -> tuple[Path, Path]:
    """Image and label file of a sample; `UsageError` for a data set without files."""
    paths: Callable[[int], tuple[Path, Path]] | None = getattr(dataset, "paths", None)
    if paths is None:
        raise UsageError(f"{dataset.name}: has no files; a benchmark's own data set is needed")
    return paths(index)


def name_of(dataset: Dataset, index: int) -> str:
    """A sample's name, from its file where there is one, without decoding the image."""
    return paths_of(dataset, index)[0].stem if hasattr(dataset, "paths") else dataset[index].name


def image_size(dataset: Dataset, index: int) -> Size:
    """(width, height) of a sample's image, from its file's header where there is a file."""
    if not hasattr(dataset, "paths"):
        height, width = dataset[index].mask.shape
        return width, height
    path = paths_of(dataset, index)[0]
    try:
        with Image.open(path) as file:
            return int(file.size[0]), int(file.size[1])
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: the image cannot be read ({error})") from error
