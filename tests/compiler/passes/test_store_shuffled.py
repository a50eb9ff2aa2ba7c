from __future__ import annotations

from fleetseg.compiler.passes.store_shuffled import store_shuffled

from ..graphs import GraphBuilder, assert_same_numbers


def test_shuffle_joins_its_convolution() -> None:
    build = GraphBuilder()
    before = build.graph(build.add("pixel_shuffle", build.conv("x", 20), factor=2))
    after = store_shuffled(before)
    assert (after.count("pixel_shuffle"), after.nodes[0]["shuffle"]) == (0, 2)
    assert_same_numbers(before, after)
