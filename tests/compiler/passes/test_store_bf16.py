from __future__ import annotations

import numpy as np

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.pairs import places_of_pairs, round_to_bf16
from fleetseg.compiler.passes.fuse_epilogues import fuse_epilogues
from fleetseg.compiler.passes.store_bf16 import store_bf16

from ..graphs import POINTWISE, GraphBuilder, run


def elements(graph: Graph) -> dict[str, str]:
    return {node.name: node.type.element for node in graph.nodes}


def assert_near(before: Graph, after: Graph) -> None:
    expected = run(before)
    error = np.abs(run(after) - expected).max() / np.abs(expected).max()
    assert 0 < error < 0.03


def test_convolutions_store_pairs_and_the_logits_stay() -> None:
    build = GraphBuilder()
    hidden = build.conv("x", 5)
    logits = build.conv(hidden, 4)
    before = build.graph(logits)
    after = store_bf16(before)
    assert elements(after) == {hidden: "bf16", logits: "f32"}
    assert after.inputs["x"].element == "bf16"
    assert after.count("copy") == 0
    for node in after.nodes:
        weight = after.constants[node.inputs[1]]
        np.testing.assert_array_equal(weight, round_to_bf16(weight))
    assert_near(before, after)


def test_casts_stand_around_an_operation_without_pairs() -> None:
    build = GraphBuilder()
    hidden = build.conv("x", 4)
    other = build.add("pixel_shuffle", hidden, factor=2)
    before = build.graph(build.conv(other, 3))
    after = store_bf16(before)
    casts = [(node.inputs[0], node.type.element) for node in after.nodes if node.op == "copy"]
    assert casts == [(hidden, "f32"), (other, "bf16")]
    assert_near(before, after)


def test_parts_of_a_concat_start_at_even_places() -> None:
    build = GraphBuilder()
    joined = build.add("concat", build.conv("x", 3), build.conv("x", 2), axis=1)
    after = store_bf16(build.graph(build.conv(joined, 2)))
    assert places_of_pairs(after)[joined] == (0, 1, 2, 4, 5)


def test_residual_of_another_arrangement_is_read_in_float32() -> None:
    build = GraphBuilder()
    joined = build.add("concat", build.conv("x", 3), build.conv("x", 3), axis=1)
    total = build.add("add", build.conv(joined, 6, 1, POINTWISE), joined)
    before = fuse_epilogues(build.graph(build.conv(total, 2)))
    after = store_bf16(before)
    operand = after.nodes[-2].epilogue[0].operands[0]
    assert after.type_of(operand).element == "f32"
    assert after.node(operand).inputs == (joined,)
    assert_near(before, after)


def test_rounding_is_to_the_nearest_and_ties_to_even() -> None:
    bits = np.array([0x3F800000, 0x3F807FFF, 0x3F808000, 0x3F808001, 0x3F818000, 0xBF808001], np.uint32)
    rounded = round_to_bf16(bits.view(np.float32)).view(np.uint32)
    assert [hex(word) for word in rounded] == [
        "0x3f800000",
        "0x3f800000",
        "0x3f800000",
        "0x3f810000",
        "0x3f820000",
        "0xbf810000",
    ]
