"""Reading MATLAB's files, with sentences for broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import DataError
from fleetseg.optional_packages import need


def load_mat(path: Path, name: str, expected: str) -> Any:
    """The variable `name` of a file up to version 7, structs as objects; `DataError` if it is not there."""
    loadmat = need("scipy.io", f"reading {path.name}").loadmat
    if not path.is_file():
        raise DataError(f"{path}: the file is missing; {expected}")
    try:
        content = loadmat(str(path), squeeze_me=True, struct_as_record=False, variable_names=[name])
    except Exception as error:  # a broken file makes the reader raise nearly anything
        raise DataError(f"{path}: it is broken or no MATLAB file ({error}); {expected}") from error
    if name not in content:
        raise DataError(f"{path}: it holds no variable '{name}'; {expected}")
    return content[name]


def field(struct: Any, name: str, path: Path, expected: str) -> Any:
    """A struct's field; `DataError` if it has none of the name."""
    if not hasattr(struct, name):
        raise DataError(f"{path}: there is no field '{name}'; {expected}")
    return getattr(struct, name)


def read_reference(path: Path, group: str, dataset: str, number: int, expected: str) -> npt.NDArray[Any]:
    """What reference `number` of GROUP/DATASET in an HDF5 file (MATLAB 7.3) points at, and nothing else of it.

    MATLAB stores arrays transposed; the result is as MATLAB would show it. The file is opened anew each time, for
    worker processes must not share its handle.
    """
    h5py = need("h5py", f"reading {path.name}")
    try:
        with h5py.File(path, "r") as file:
            references = file[group][dataset]
            place = (number, 0) if references.shape[0] != 1 or number == 0 else (0, number)
            return np.asarray(file[references[place]][()]).T
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing; {expected}") from None
    except Exception as error:  # h5py raises what it likes
        raise DataError(f"{path}: it is broken or no HDF5 file ({error}); {expected}") from error
