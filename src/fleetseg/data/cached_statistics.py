"""Class statistics kept from one run to the next."""

from __future__ import annotations

import json

import numpy as np

from fleetseg.atomic import write_text
from fleetseg.data.base import Dataset
from fleetseg.data.class_weights import ClassStatistics, class_statistics
from fleetseg.data.fingerprint import cache_folder, fingerprint
from fleetseg.errors import OutputError


def cached_class_statistics(dataset: Dataset, reader: Dataset | None = None) -> ClassStatistics:
    """`class_statistics`, counted once for each data set, split and state of its files.

    `reader` gives the samples if others are to be read than those of `dataset`, such as decoded ones. A cache that
    cannot be written, or is broken, only costs the counting. Raises what `class_statistics` raises.
    """
    name = fingerprint(dataset)
    if name is None:
        return class_statistics(reader or dataset)
    path = cache_folder() / f"classes-{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = ClassStatistics(*(np.array(content[key], np.int64) for key in ("pixels", "present_image_pixels")))
        if found.pixels.shape == found.present_image_pixels.shape == (dataset.labels.num_classes,):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not what was written
    counted = class_statistics(reader or dataset)
    try:
        write_text(path, json.dumps({key: value.tolist() for key, value in vars(counted).items()}))
    except OutputError:
        return counted
    return counted
