from __future__ import annotations

import numpy as np

from fleetseg.compiler.ir import Graph, TensorType
from fleetseg.compiler.passes.find_unpooling import find_unpooling

from ..graphs import GraphBuilder, run

WINDOW = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}


def pooled_and_spread(order: tuple[tuple[int, int], ...]) -> Graph:
    """x pooled and un-pooled as fleetseg.models.blocks writes it; `order` is in which views are compared."""
    build = GraphBuilder(4)
    pooled = build.add("max_pool", "x", **WINDOW)
    views = []
    for row, column in order:
        rows = build.add("slice", "x", axis=2, start=row, stop=6, step=2)
        views.append(build.add("slice", rows, axis=3, start=column, stop=8, step=2))
    planes = [build.add("equal", views[0], pooled)]
    seen = planes[0]
    for view in views[1:3]:
        equal = build.add("equal", view, pooled)
        planes.append(build.add("logical_and", equal, build.add("logical_not", seen)))
        if len(planes) == 2:
            seen = build.add("logical_or", seen, planes[1])
    planes.append(build.add("logical_not", build.add("logical_or", seen, planes[2])))
    stacked = build.add("concat", *(build.add("reshape", p, shape=(1, 4, 1, 3, 4)) for p in planes), axis=2)
    build.constants["zero"] = np.zeros((), np.float32)
    build.types["zero"] = TensorType(())
    value = build.add("reshape", build.conv(pooled, 4), shape=(1, 4, 1, 3, 4))
    spread = build.add("where", stacked, value, "zero")
    flat = build.add("reshape", spread, shape=(1, 16, 3, 4))
    return build.graph(build.add("pixel_shuffle", flat, factor=2))


def test_comparisons_become_one_index_and_one_unpooling() -> None:
    before = pooled_and_spread(((0, 0), (0, 1), (1, 0)))
    after = find_unpooling(before)
    assert [after.count(op) for op in ("pool_place", "unpool", "where", "equal", "pixel_shuffle")] == [1, 1, 0, 0, 0]
    np.testing.assert_array_equal(run(after), run(before))


def test_another_order_of_ties_is_left_alone() -> None:
    before = pooled_and_spread(((0, 0), (1, 0), (0, 1)))
    after = find_unpooling(before)
    assert (after.count("unpool"), after.count("where")) == (0, 1)
