"""Class names and colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetseg.labels import CAMVID_11, CITYSCAPES_19, IGNORE_INDEX, LabelSet, default_palette, label_set


@given(st.integers(0, 255))
def test_default_colours_are_distinct_and_never_black(count: int) -> None:
    palette = default_palette(count)
    assert len(set(palette)) == count
    assert (0, 0, 0) not in palette
    assert all(0 <= value <= 255 for colour in palette for value in colour)


def test_default_colours_are_pascal_vocs_without_the_background() -> None:
    # aeroplane, bicycle, bird, boat and, with id 20, tvmonitor.
    assert default_palette(4) == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert default_palette(20)[19] == (0, 64, 128)


@pytest.mark.parametrize(
    ("labels", "count", "first", "last"),
    [
        (CAMVID_11, 11, ("Sky", (128, 128, 128)), ("Bicyclist", (0, 128, 192))),
        (CITYSCAPES_19, 19, ("road", (128, 64, 128)), ("bicycle", (119, 11, 32))),
    ],
)
def test_known_sets(
    labels: LabelSet, count: int, first: tuple[str, tuple[int, ...]], last: tuple[str, tuple[int, ...]]
) -> None:
    assert labels.num_classes == len(set(labels.names)) == len(set(labels.palette)) == count
    assert (labels.names[0], labels.palette[0]) == first
    assert (labels.names[-1], labels.palette[-1]) == last


def test_camvid_is_in_the_order_of_its_files() -> None:
    assert CAMVID_11.names == (
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    )  # fmt: skip


def test_colour_table() -> None:
    table = label_set(["a", "b"], [[1, 2, 3], [4, 5, 6]]).colour_table()
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    assert table[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert not table[2:].any()
    assert IGNORE_INDEX == 255


def test_label_set_without_palette() -> None:
    labels = label_set(["a", "b", "c"])
    assert labels == LabelSet(("a", "b", "c"), default_palette(3))


def test_names_and_colours_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 class names but 1 colours"):
        label_set(["a", "b"], [[0, 0, 0]])
