from __future__ import annotations

import numpy as np

from fleetseg.compiler.interpret import interpret
from fleetseg.compiler.passes.add_class_map import add_class_map

from ..graphs import SAME_SIZE, GraphBuilder


def test_classes_are_the_arg_max_of_the_logits() -> None:
    build = GraphBuilder()
    relu = build.add("relu", build.conv("x", 5))
    for last in (build.conv(relu, 6), relu):
        after = add_class_map(build.graph(last))
        image = np.random.default_rng(1).normal(size=(1, 3, 6, 8)).astype(np.float32)
        logits, classes = interpret(after, {"x": image})
        np.testing.assert_array_equal(classes[0, 0], logits[0].argmax(0))
        assert after.nodes[-1].op == ("conv2d" if last != relu else "argmax")


def test_groups_are_no_single_chain_of_classes() -> None:
    build = GraphBuilder(channels=4)
    after = add_class_map(build.graph(build.conv("x", 6, window={**SAME_SIZE, "groups": 2})))
    assert [node.op for node in after.nodes] == ["conv2d", "argmax"]
