"""Windows cover an image, their weights add up, neighbours agree on what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetseg.app.huge.grid import ALIGNMENT, axis, bands, grid, runs
from fleetseg.errors import UsageError


@given(st.integers(1, 900), st.integers(8, 200), st.floats(0, 0.7))
def test_every_pixel_counts_and_full_ones_count_once(length: int, window: int, share: float) -> None:
    if int(window * (1 - share)) < ALIGNMENT:
        return
    line = axis(length, window, share)
    total = np.zeros(length)
    for place, start in enumerate(line.starts):
        assert start % ALIGNMENT == 0 and line.end(place) <= length
        weights = line.weights(place)
        assert weights.shape == (line.end(place) - start,)
        total[start : line.end(place)] += weights
        first, last = line.counted(place)
        assert not weights[: first - start].any() and not weights[last - start :].any()
        assert (weights[first - start : last - start] > 0).all()
    assert (total > 0.999).all(), "nobody is left out"
    regular = [start for start in line.starts if start % (window - line.overlap) == 0]
    if len(regular) == len(line.starts) and line.overlap <= window / 2:
        # None was moved back to end with the image: in twos they share everything out.
        assert total == pytest.approx(1, abs=1e-5)


def test_context_is_a_quarter_of_the_overlap() -> None:
    line = axis(1000, 128, 0.5)
    assert line.overlap == 64
    assert line.counted(0)[0] == 0 and line.counted(len(line.starts) - 1)[1] == 1000
    for place in range(1, len(line.starts)):
        assert line.counted(place)[0] == line.starts[place] + 16


def test_windows_that_cannot_go_on_are_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"windows of 24 pixels with 0\.75 of overlap move on by less than 8"):
        grid((100, 100), (24, 24), 0.75)


def test_an_image_smaller_than_a_window_has_one() -> None:
    small = grid((30, 20), (64, 48), 0.25)
    assert len(small) == 1
    assert small.columns.weights(0).tolist() == [1] * 30


def test_touching_names_the_windows_that_count_there() -> None:
    line = axis(400, 64, 0.25)
    for begin, end in ((0, 1), (60, 61), (100, 300), (399, 400)):
        expected = [place for place in range(len(line.starts)) if _counts(line, place, begin, end)]
        assert line.touching(begin, end) == expected


def _counts(line, place: int, begin: int, end: int) -> bool:
    whole = np.zeros(400)
    whole[line.starts[place] : line.end(place)] = line.weights(place)
    return bool(whole[begin:end].any())


def test_bands_and_runs() -> None:
    assert [(band.left, band.right) for band in bands(1200, 512)] == [(0, 512), (512, 1024), (1024, 1200)]
    assert [(band.left, band.right) for band in bands(512, 512)] == [(0, 512)]
    assert list(runs([0, 1, 2, 5, 6, 9], 2)) == [(0, 1), (2,), (5, 6), (9,)]
