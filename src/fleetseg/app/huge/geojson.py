"""Outlines as GeoJSON that QuPath opens: one annotation a class, in pixels of the full-resolution image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.outlines import outlines
from fleetseg.atomic import replacing
from fleetseg.labels import LabelSet


def write_geojson(path: Path, mask: npt.NDArray[np.uint8], pixel: tuple[float, float], labels: LabelSet) -> None:
    """Write a feature for each class that occurs in a mask (H, W), class by class; `OutputError` if impossible.

    `pixel` is the (width, height) that a pixel of the mask has in the image.
    """
    present = np.bincount(mask.ravel(), minlength=256)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for class_id in range(labels.num_classes):
            if present[class_id]:
                file.write(separator + json.dumps(_feature(mask, class_id, pixel, labels), separators=(",", ":")))
                separator = ",\n"
        file.write("\n]}\n")


def _feature(
    mask: npt.NDArray[np.uint8], class_id: int, pixel: tuple[float, float], labels: LabelSet
) -> dict[str, Any]:
    name, colour = labels.names[class_id], list(labels.palette[class_id])
    polygons = [[outline.outer, *outline.holes] for outline in outlines(mask, class_id, pixel)]
    return {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": polygons},
        "properties": {"objectType": "annotation", "name": name, "classification": {"name": name, "color": colour}},
    }
