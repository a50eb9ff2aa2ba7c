from __future__ import annotations

import pytest

from fleetseg.compiler.passes.find_index_unpooling import find_index_unpooling

from ..graphs import GraphBuilder, assert_same_numbers

PLAIN = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}


@pytest.mark.parametrize(
    ("window", "size", "places"),
    [
        (PLAIN, (6, 8), 1),
        (PLAIN, (7, 9), 0),
        ({**PLAIN, "kernel_size": (3, 3), "padding": (1, 1, 1, 1)}, (6, 8), 0),
    ],
    ids=["side by side", "another size", "overlapping"],
)
def test_places_where_windows_lie_side_by_side(
    window: dict[str, tuple[int, ...]], size: tuple[int, int], places: int
) -> None:
    build = GraphBuilder()
    pooled, index = build.add("max_pool", "x", **window), build.add("max_pool_index", "x", **window)
    before = build.graph(build.add("max_unpool", build.conv(pooled, 3), index, size=size))
    after = find_index_unpooling(before)
    assert [after.count(op) for op in ("pool_place", "unpool", "max_pool_index", "max_unpool")] == (
        [1, 1, 0, 0] if places else [0, 0, 1, 1]
    )
    assert_same_numbers(before, after)
