from __future__ import annotations

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.find_pyramids import find_pyramids

from ..graphs import SAME_SIZE, GraphBuilder, assert_same_numbers


def esp(start: int, leak: bool = False) -> Graph:
    """Four branches; sums begin at branch `start`; with `leak` a part is read by somebody else too."""
    build = GraphBuilder(5, 12, 9)
    outputs = []
    for k in range(4):
        window = {**SAME_SIZE, "padding": (2**k,) * 4, "dilation": (2**k,) * 2}
        outputs.append(build.conv("x", 3, window=window))
        if k >= start:
            outputs[k] = build.add("add", outputs[k], outputs[k - 1])
    joined = build.add("concat", *outputs, axis=1)
    if leak:
        extra = build.add("concat", *[outputs[2]] * 4, axis=1)
        joined = build.add("add", joined, extra)
    return build.graph(joined)


def test_sums_continue_from_the_second_branch() -> None:
    before = esp(start=2)
    after = find_pyramids(before)
    assert [node.op for node in after.nodes] == ["pyramid"]
    assert after.nodes[0]["continues"] == (False, False, True, True)
    assert_same_numbers(before, after)


def test_sums_from_the_first_branch_on() -> None:
    before = esp(start=1)
    after = find_pyramids(before)
    assert after.nodes[0]["continues"] == (False, True, True, True)
    assert_same_numbers(before, after)


def test_a_part_that_others_read_prevents_it() -> None:
    assert find_pyramids(esp(start=2, leak=True)).count("pyramid") == 0
