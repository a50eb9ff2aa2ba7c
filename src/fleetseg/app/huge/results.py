"""What is written about an image besides its labels: areas, outlines, a picture to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.geojson import write_geojson
from fleetseg.app.huge.label_tiff import whole_level
from fleetseg.app.huge.plan import Plan
from fleetseg.app.huge.sources import Source, in_colour
from fleetseg.app.huge.tile_store import TileStore
from fleetseg.atomic import write_text
from fleetseg.image import resize_mask, write_png
from fleetseg.labels import IGNORE_INDEX, LabelSet
from fleetseg.overlay import overlay, with_legend

#: Longest edge of the level that is outlined, and of the picture to look at.
OUTLINED, SHOWN = 4096, 2048


@dataclass(frozen=True)
class Areas:
    """How much of an image each class has."""

    labels: LabelSet
    #: Pixels of the label image, in id order, and those without a class.
    pixels: tuple[int, ...]
    unlabelled: int
    #: (width, height) that a pixel of the labels has, in pixels of the image and, if known, in micrometres.
    pixel: tuple[float, float]
    microns: tuple[float, float] | None

    @classmethod
    def of(cls, plan: Plan, source: Source, labels: LabelSet, counts: npt.NDArray[np.int64]) -> Areas:
        """From how many pixels have each value."""
        pixel = plan.image_size[0] / plan.size[0], plan.image_size[1] / plan.size[1]
        scale = source.microns
        microns = None if scale is None else (pixel[0] * scale[0], pixel[1] * scale[1])
        pixels = tuple(int(count) for count in counts[: labels.num_classes])
        return cls(labels, pixels, int(counts[IGNORE_INDEX]), pixel, microns)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each class among the labelled pixels."""
        labelled = max(1, sum(self.pixels))
        return tuple(count / labelled for count in self.pixels)

    def as_json(self) -> dict[str, Any]:
        """The object in the file of areas."""
        classes = []
        for class_id, (name, count) in enumerate(zip(self.labels.names, self.pixels, strict=True)):
            entry = {"id": class_id, "name": name, "pixels": count, "share": round(self.shares[class_id], 6)}
            if self.microns is not None:
                entry["square_millimetres"] = round(count * self.microns[0] * self.microns[1] / 1e6, 9)
            classes.append(entry)
        return {
            "classes": classes,
            "unlabelled_pixels": self.unlabelled,
            "image_pixels_a_pixel": self.pixel[0] * self.pixel[1],
            **({"microns_a_pixel": list(self.microns)} if self.microns is not None else {}),
        }


def write_areas(path: Path, about: dict[str, Any], areas: Areas) -> None:
    """Write `about` the image and its areas as JSON."""
    write_text(path, json.dumps({**about, **areas.as_json()}, indent=2, allow_nan=False) + "\n")


def write_outlines(path: Path, store: TileStore, plan: Plan, labels: LabelSet) -> None:
    """Write the outlines of the finest level that has at most `OUTLINED` pixels an edge."""
    mask, _ = whole_level(store, plan.size, OUTLINED)
    pixel = plan.image_size[0] / mask.shape[1], plan.image_size[1] / mask.shape[0]
    write_geojson(path, mask, pixel, labels)


def write_overlay(path: Path, store: TileStore, plan: Plan, source: Source, areas: Areas) -> None:
    """Write the classes over the image, with a legend, at most `SHOWN` pixels an edge."""
    downsample = max(plan.downsample, max(plan.image_size) / SHOWN)
    size = max(1, int(plan.image_size[0] / downsample)), max(1, int(plan.image_size[1] / downsample))
    picture = in_colour(source.region(0, 0, size, downsample))
    mask = resize_mask(whole_level(store, plan.size, 2 * SHOWN)[0], size)
    write_png(path, with_legend(overlay(picture, mask, areas.labels), areas.labels, areas.shares))
