"""A short name for the very files of a split: caches are made under it and not found again once a file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetseg.data.base import Dataset
from fleetseg.data.joined import files_of

#: Attributes that decide about a data set's samples beside its files.
_DECIDING = ("size", "options", "indices")


def fingerprint(dataset: Dataset, *details: object) -> str | None:
    """32 hexadecimal digits of the classes and of each file's path, size and time; None for what has no files.

    `details` go in too: whatever else decides about a cached result.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((dataset.name, dataset.split, dataset.labels, len(dataset), details)).encode())
    digest.update(_changes(dataset))
    for index in range(len(dataset)):
        files = files_of(dataset, index)
        if not files:
            return None
        for path in files:
            digest.update(_state(path))
    return digest.hexdigest()


def _changes(dataset: Dataset | None) -> bytes:
    """What wrappers do to the samples of the files: new sizes, new classes, a choice."""
    said = b""
    while dataset is not None:
        table: npt.NDArray[np.uint8] = getattr(dataset, "table", np.zeros(0, np.uint8))
        said += repr([type(dataset).__name__, *(getattr(dataset, key, None) for key in _DECIDING)]).encode()
        said += table.tobytes()
        dataset = getattr(dataset, "base", None)
    return said


def _state(path: Path) -> bytes:
    state = path.stat() if path.exists() else None
    return repr((str(path.resolve()), state and (state.st_size, state.st_mtime_ns))).encode()


def cache_folder() -> Path:
    """Where caches are kept: $FLEETSEG_CACHE, else below $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("FLEETSEG_CACHE")
    if own:
        return Path(own) / "data"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleetseg" / "data"
