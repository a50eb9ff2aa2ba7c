"""What the servers of Cityscapes and PASCAL VOC want: names, folders, values, kind of PNG."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetseg.data.label_tables import cityscapes_ids, named_classes
from fleetseg.errors import DataError, UnknownNameError
from fleetseg.labels import CITYSCAPES_19, LabelSet


@dataclass(frozen=True)
class SubmissionFormat:
    """One server's wishes."""

    name: str
    labels: LabelSet
    #: (256,) uint8: class id (255: no class) → value in the file.
    values: npt.NDArray[np.uint8]
    #: From a sample's name and its split to the file's path in the archive; `DataError` for names that cannot be.
    path_of: Callable[[str, str], str]
    #: Whether files are 8-bit palette images (else 8-bit grey).
    palette: bool
    #: What its server accepts, for error messages.
    expected: str

    def allowed(self) -> frozenset[int]:
        """The values that a file may hold."""
        return frozenset(int(value) for value in self.values)


_FRAME = re.compile(r"[A-Za-z-]+_\d{6}_\d{6}")


def _cityscapes_path(name: str, _split: str) -> str:
    """The server looks for ``CITY_SEQUENCE_FRAME*.png``, in any folder."""
    found = _FRAME.match(name)
    if found is None:
        raise DataError(
            f"{name}: Cityscapes' images are called CITY_SEQUENCE_FRAME_leftImg8bit, such as "
            "berlin_000000_000019_leftImg8bit; a submission can be made of its own images only"
        )
    return f"{found[0]}_labelIds.png"


def _voc_path(name: str, split: str) -> str:
    """comp6: any training data but the test set, as for networks trained on SBD or COCO too."""
    if not re.fullmatch(r"\d{4}_\d{6}", name):
        raise DataError(
            f"{name}: PASCAL VOC's images are called YEAR_NUMBER, such as 2008_000001; a submission can be made of "
            "its own images only"
        )
    return f"results/VOC2012/Segmentation/comp6_{split}_cls/{name}.png"


def _voc_values() -> npt.NDArray[np.uint8]:
    # Background stands for no class: the server takes 0 to 20 and nothing else.
    values = np.zeros(256, np.uint8)
    values[:21] = np.arange(21)
    return values


#: Name → how it is made; made on demand, because the tables are read from files.
FORMATS: Mapping[str, Callable[[], SubmissionFormat]] = {
    "cityscapes": lambda: SubmissionFormat(
        "cityscapes",
        CITYSCAPES_19,
        cityscapes_ids(),
        _cityscapes_path,
        palette=False,
        expected="Cityscapes' server takes 8-bit grey PNGs with the ids of the 19 evaluated labels (7 road … 33 "
        "bicycle) and 0, not train ids",
    ),
    "voc": lambda: SubmissionFormat(
        "voc",
        named_classes("voc"),
        _voc_values(),
        _voc_path,
        palette=True,
        expected="PASCAL VOC's server takes 8-bit palette PNGs with 0 (background) to 20 and no 255",
    ),
}


def format_named(name: str) -> SubmissionFormat:
    """The format; `UnknownNameError` if there is none of that name."""
    if name not in FORMATS:
        raise UnknownNameError("submission format", name, FORMATS)
    return FORMATS[name]()
