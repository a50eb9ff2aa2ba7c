from __future__ import annotations

import numpy as np

from fleetseg.compiler.passes.absorb_borders import absorb_borders

from ..graphs import GraphBuilder, run


def test_padding_and_cropping_leave_the_graph() -> None:
    build = GraphBuilder(height=6, width=5)
    padded = build.add("pad", "x", amounts=((0, 0), (0, 0), (0, 2), (0, 3)))
    conv = build.conv(padded, 4)
    rows = build.add("slice", conv, axis=2, start=0, stop=6, step=1)
    before = build.graph(build.add("slice", rows, axis=3, start=0, stop=5, step=1))
    after = absorb_borders(before)
    assert [node.op for node in after.nodes] == ["conv2d"]
    assert after.inputs["x"].shape == (1, 3, 8, 8)
    np.testing.assert_array_equal(run(after, pad_to=before)[:, :, :6, :5], run(before))


def test_padding_on_the_left_stays() -> None:
    build = GraphBuilder()
    before = build.graph(build.conv(build.add("pad", "x", amounts=((0, 0), (0, 0), (0, 0), (1, 1))), 4))
    assert absorb_borders(before).count("pad") == 1
