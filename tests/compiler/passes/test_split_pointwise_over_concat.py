from __future__ import annotations

from fleetseg.compiler.passes.split_pointwise_over_concat import split_pointwise_over_concat

from ..graphs import GraphBuilder, assert_same_numbers


def test_prelu_moves_in_front_with_its_own_slopes() -> None:
    build = GraphBuilder()
    joined = build.add("concat", build.conv("x", 4), build.conv("x", 2), "x", axis=1)
    before = build.graph(build.add("prelu", joined, build.constant(9)))
    after = split_pointwise_over_concat(before)
    assert (after.count("prelu"), after.nodes[-1].op) == (3, "concat")
    assert_same_numbers(before, after)


def test_a_concat_that_others_read_stays_in_front() -> None:
    build = GraphBuilder()
    joined = build.add("concat", build.conv("x", 4), "x", axis=1)
    before = build.graph(build.add("add", build.add("relu", joined), joined))
    after = split_pointwise_over_concat(before)
    assert after.count("relu") == 1
    assert_same_numbers(before, after)
