from __future__ import annotations

from fleetseg.compiler.passes.lower_shuffles import lower_shuffles

from ..graphs import GraphBuilder, assert_same_numbers


def test_chains_become_one_and_what_moves_nothing_none() -> None:
    build = GraphBuilder()
    conv = build.conv("x", 18)
    shuffled = build.add("pixel_shuffle", conv, factor=3)
    cropped = build.add("rearrange", shuffled, steps=(("slice", 2, 0, 17, 1), ("slice", 3, 0, 20, 1)))
    before = build.graph(build.add("relu", cropped))
    after = lower_shuffles(before)
    assert [node.op for node in after.nodes] == ["conv2d", "rearrange", "relu"]
    assert_same_numbers(before, after)


def test_there_and_back_is_nothing() -> None:
    build = GraphBuilder()
    turned = build.add("rearrange", build.conv("x", 4), steps=(("permute", (0, 1, 3, 2)),))
    before = build.graph(build.add("relu", build.add("rearrange", turned, steps=(("permute", (0, 1, 3, 2)),))))
    after = lower_shuffles(before)
    assert [node.op for node in after.nodes] == ["conv2d", "relu"]
    assert_same_numbers(before, after)
