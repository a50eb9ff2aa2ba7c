from __future__ import annotations

from fleetseg.compiler.passes.place_concats import place_concats

from ..graphs import GraphBuilder, assert_same_numbers


def test_only_parts_without_a_kernel_of_their_own_are_copied() -> None:
    build = GraphBuilder()
    conv = build.conv("x", 4)
    before = build.graph(build.add("concat", conv, "x", conv, axis=1))
    after = place_concats(before)
    assert [node.op for node in after.nodes] == ["conv2d", "copy", "copy", "concat"]
    assert after.nodes[-1].inputs[0] == conv
    assert_same_numbers(before, after)
