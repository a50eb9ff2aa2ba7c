"""Outlines are valid polygons along the pixels' edges whose areas are the classes' and which leave nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import shape

from fleetseg.app.huge.geojson import write_geojson
from fleetseg.app.huge.outlines import outlines
from fleetseg.labels import label_set

LABELS = label_set(["a", "b", "c"])


@settings(max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_polygons_are_valid_and_have_the_pixels_areas(mask: np.ndarray) -> None:
    for value in range(3):
        polygons = [shapely.Polygon(found.outer, found.holes) for found in outlines(mask, value)]
        assert all(polygon.is_valid for polygon in polygons)
        for polygon in polygons:
            for row, column in np.ndindex(mask.shape):
                inside = polygon.contains(shapely.Point(column + 0.5, row + 0.5))
                assert not inside or mask[row, column] == value
        assert sum(polygon.area for polygon in polygons) == (mask == value).sum()
        assert not any(one.overlaps(other) for one in polygons for other in polygons)


def test_a_hole_that_touches_the_outside_at_a_corner() -> None:
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], np.uint8)
    (found,) = outlines(mask, 1)
    assert len(found.holes) == 1
    assert shapely.Polygon(found.outer, found.holes).is_valid


def test_corners_only_where_it_turns() -> None:
    (found,) = outlines(np.ones((3, 5), np.uint8), 1)
    assert sorted(map(tuple, found.outer[1:])) == [(0, 0), (0, 3), (5, 0), (5, 3)]
    assert found.outer[0] == found.outer[-1]


def test_geojson_as_qupath_reads_it(tmp_path: Path) -> None:
    mask = np.array([[0, 0, 2, 2], [0, 0, 2, 255]], np.uint8)
    write_geojson(tmp_path / "a.geojson", mask, (10.0, 20.5), LABELS)
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    first, second = content["features"]
    assert first["type"] == "Feature"
    assert first["properties"] == {
        "objectType": "annotation",
        "name": "a",
        "classification": {"name": "a", "color": list(LABELS.palette[0])},
    }
    assert second["properties"]["name"] == "c", "a class without pixels has no feature"
    geometry = shape(first["geometry"])
    assert geometry.geom_type == "MultiPolygon" and geometry.bounds == (0, 0, 20, 41)
    assert geometry.geoms[0].exterior.is_ccw, "RFC 7946"
    assert shape(second["geometry"]).area == pytest.approx(3 * 10 * 20.5)


def test_no_class_at_all_is_an_empty_collection(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", np.full((2, 2), 255, np.uint8), (1.0, 1.0), LABELS)
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
