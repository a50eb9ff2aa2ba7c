from __future__ import annotations

import pytest

from fleetseg.compiler.passes.only_maps import map_shape, only_maps
from fleetseg.errors import CompileError

from ..graphs import POINTWISE, GraphBuilder, assert_same_numbers


def test_a_shuffle_through_five_axes_is_one_rearrangement() -> None:
    build = GraphBuilder()
    raised = build.add("reshape", build.conv("x", 8), shape=(1, 2, 4, 6, 8))
    turned = build.add("rearrange", raised, steps=(("permute", (0, 2, 1, 3, 4)),))
    before = build.graph(build.conv(build.add("reshape", turned, shape=(1, 8, 6, 8)), 3))
    after = only_maps(before)
    assert [node.op for node in after.nodes] == ["conv2d", "rearrange", "conv2d"]
    assert_same_numbers(before, after)


def test_what_moves_nothing_vanishes() -> None:
    build = GraphBuilder()
    pooled = build.add("adaptive_avg_pool", build.conv("x", 8), size=(1, 1))
    flat = build.add("relu", build.add("reshape", pooled, shape=(1, 8)))
    before = build.graph(build.conv(build.add("reshape", flat, shape=(1, 8, 1, 1)), 3, 1, POINTWISE))
    after = only_maps(before)
    assert [node.op for node in after.nodes] == ["conv2d", "adaptive_avg_pool", "relu", "conv2d"]
    assert_same_numbers(before, after)


@pytest.mark.parametrize("axis", range(1, 5))
def test_joining_along_any_of_five_axes(axis: int) -> None:
    build = GraphBuilder()
    raised = build.add("reshape", build.conv("x", 6), shape=(1, 2, 3, 6, 8))
    joined = build.add("concat", raised, build.add("relu", raised), axis=axis)
    _, a, b, h, w = build.types[joined].shape
    before = build.graph(build.add("reshape", joined, shape=(1, a * b, h, w)))
    after = only_maps(before)
    assert all(len(node.type.shape) == 4 for node in after.nodes)
    assert_same_numbers(before, after)


def test_sizes_of_one_are_spread_over_joined_axes() -> None:
    build = GraphBuilder()
    raised = build.add("reshape", build.conv("x", 6), shape=(1, 2, 3, 6, 8))
    gate = build.add("slice", raised, axis=2, start=0, stop=1, step=1)
    product = build.add("reshape", build.add("mul", raised, gate), shape=(1, 6, 6, 8))
    before = build.graph(product)
    after = only_maps(before)
    assert after.count("mul") == 1
    assert_same_numbers(before, after)


def test_parameters_of_a_channel_reach_all_it_became() -> None:
    build = GraphBuilder()
    tokens = build.add("reshape", build.conv("x", 6), shape=(1, 6, 48))
    raised = build.add("reshape", build.add("prelu", tokens, build.constant(6)), shape=(1, 3, 2, 6, 8))
    slopes = build.add("prelu", raised, build.constant(3))
    before = build.graph(build.add("reshape", slopes, shape=(1, 6, 6, 8)))
    assert_same_numbers(before, only_maps(before))


def test_a_batch_of_two_is_named() -> None:
    build = GraphBuilder(channels=4)
    halves = build.add("reshape", "x", shape=(2, 2, 6, 8))
    pooled = build.add("max_pool", halves, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    with pytest.raises(CompileError, match=r"operation 'max_pool' at layer .* has no C yet"):
        only_maps(build.graph(pooled))


@pytest.mark.parametrize(
    ("shape", "as_map"),
    [((5,), (1, 5, 1, 1)), ((1, 5), (1, 5, 1, 1)), ((1, 5, 7), (1, 5, 1, 7)), ((1, 2, 3, 4, 5), (1, 6, 4, 5))],
)
def test_shapes_of_maps(shape: tuple[int, ...], as_map: tuple[int, ...]) -> None:
    assert map_shape(shape) == as_map
