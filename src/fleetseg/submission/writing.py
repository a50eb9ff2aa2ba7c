"""From a network's masks to an archive for upload."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetseg.atomic import replacing
from fleetseg.data.base import Dataset
from fleetseg.errors import DataError, UsageError
from fleetseg.evaluation import class_table
from fleetseg.submission.checking import check_submission, name_of
from fleetseg.submission.formats import SubmissionFormat

Mask = npt.NDArray[np.uint8]

#: Archives carry it instead of the hour, so that equal predictions give equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_submission(
    path: str | Path,
    form: SubmissionFormat,
    dataset: Dataset,
    predict: Callable[[Mask], Mask],
    classes: Sequence[str],
    progress: Callable[[range], Iterable[int]] = iter,
) -> int:
    """Predict every image of the split into the zip archive `path`, check it, and say how many files it has.

    The archive appears only when it is whole and right. `UsageError` if `classes`, the network's, are not the
    format's, `DataError` if the images are not the benchmark's.
    """
    if Path(path).suffix.lower() != ".zip":
        raise UsageError(f"{path}: a submission is one zip archive; give a name that ends in .zip")
    try:
        values = form.values[class_table(classes, form.labels)]
    except UsageError as error:
        raise UsageError(f"the network does not fit {form.name}: {error}") from error
    names = [form.path_of(name_of(dataset, index), dataset.split) for index in range(len(dataset))]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two images of the split would have the prediction {twice}; each name may occur once")
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
            for index in progress(range(len(dataset))):
                mask = values[predict(_image(dataset, index))]
                archive.writestr(zipfile.ZipInfo(names[index], _DATE), _png(mask, form))
        return check_submission(temporary, form, dataset)


def _image(dataset: Dataset, index: int) -> Mask:
    image: Callable[[int], Mask] | None = getattr(dataset, "image", None)
    return image(index) if image is not None else dataset[index].image


def _png(mask: Mask, form: SubmissionFormat) -> bytes:
    file = Image.fromarray(np.ascontiguousarray(mask))
    if form.palette:
        file.putpalette(form.labels.colour_table().tobytes())
    buffer = io.BytesIO()
    file.save(buffer, format="PNG")
    return buffer.getvalue()
