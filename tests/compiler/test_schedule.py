"""Register blocks cover every pixel and unit, and fit into the registers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetseg.compiler.schedule import Window, choose_blocking, near_equal
from fleetseg.compiler.target import TARGETS


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 130), st.sampled_from([1, 2]), st.sampled_from(sorted(TARGETS)))
def test_every_pixel_and_unit_is_covered(width: int, units: int, accumulators: int, name: str) -> None:
    target = TARGETS[name]
    blocking = choose_blocking(width, units, accumulators, Window(1), 0, target)
    covered = set()
    for block in blocking.pixels:
        for index in range(block.count):
            for offset in block.offsets:
                start = block.start + index * block.step + offset
                assert 0 <= start <= width - blocking.lanes
                covered.update(range(start, start + blocking.lanes))
        assert len(block.offsets) * (max(blocking.units) * accumulators + 1) + 1 <= target.registers
    assert covered == set(range(width))
    assert sum(blocking.units) == units


def test_blocks_as_measured_to_be_the_fastest() -> None:
    blocking = choose_blocking(80, 25, 1, Window(1), 0, TARGETS["x86-64-v4"])
    assert (blocking.lanes, len(blocking.pixels[0].offsets), blocking.units) == (16, 5, (5, 5, 5, 5, 5))


@pytest.mark.parametrize(("total", "largest", "parts"), [(32, 5, [5] * 4 + [4] * 3), (4, 9, [4]), (6, 2, [2, 2, 2])])
def test_near_equal(total: int, largest: int, parts: list[int]) -> None:
    assert near_equal(total, largest) == parts
