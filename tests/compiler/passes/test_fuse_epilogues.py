from __future__ import annotations

from fleetseg.compiler.passes.fuse_epilogues import fuse_epilogues

from ..graphs import POINTWISE, GraphBuilder, assert_same_numbers


def test_residual_and_activations_join_the_convolution() -> None:
    build = GraphBuilder(4)
    value = build.add("relu", build.conv("x", 4))
    total = build.add("add", "x", build.conv(value, 4))
    before = build.graph(build.add("prelu", total, build.constant(4)))
    after = fuse_epilogues(before)
    assert [[step.op for step in node.epilogue] for node in after.nodes] == [["relu"], ["add", "prelu"]]
    assert_same_numbers(before, after)


def test_zero_padded_residual_adds_only_the_real_channels() -> None:
    build = GraphBuilder(4)
    wide = build.add("pad", "x", amounts=((0, 0), (0, 3), (0, 0), (0, 0)))
    before = build.graph(build.add("add", wide, build.conv("x", 7)))
    after = fuse_epilogues(before)
    assert after.nodes[-1].epilogue[0].channels == (0, 4)
    assert after.count("pad") == 0
    assert_same_numbers(before, after)


def test_unpooled_residual_is_never_made() -> None:
    build = GraphBuilder(4)
    place = build.add("pool_place", "x")
    small = build.conv(build.add("max_pool", "x", kernel_size=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0)), 4)
    spread = build.add("unpool", small, place)
    before = build.graph(build.add("add", spread, build.conv("x", 4, 1, POINTWISE)))
    after = fuse_epilogues(before)
    assert (after.count("unpool"), after.nodes[-1].epilogue[0].op) == (0, "add_unpooled")
    assert_same_numbers(before, after)


def test_what_has_no_producer_to_join_becomes_a_copy() -> None:
    build = GraphBuilder(4)
    before = build.graph(build.add("mul", build.add("relu", "x"), "x"))
    after = fuse_epilogues(before)
    assert [(node.op, len(node.epilogue)) for node in after.nodes] == [("copy", 2)]
    assert_same_numbers(before, after)


def test_a_value_doubled_is_not_lost() -> None:
    build = GraphBuilder(4)
    conv = build.conv("x", 4)
    before = build.graph(build.add("add", conv, conv))
    assert_same_numbers(before, fuse_epilogues(before))
