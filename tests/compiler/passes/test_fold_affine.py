from __future__ import annotations

from fleetseg.compiler.passes.batch_norm_to_affine import batch_norm_to_affine
from fleetseg.compiler.passes.fold_affine import fold_affine

from ..graphs import GraphBuilder, assert_same_numbers


def test_affine_moves_into_convolutions_of_both_kinds() -> None:
    build = GraphBuilder()
    value = build.batch_norm(build.conv("x", 5))
    value = build.add(
        "conv_transpose2d", value, build.constant(5, 4, 3, 3), stride=(2, 2), padding=(1, 1),
        output_padding=(1, 1), dilation=(1, 1), groups=1,
    )  # fmt: skip
    before = batch_norm_to_affine(build.graph(build.batch_norm(value)))
    after = fold_affine(before)
    assert (before.count("affine"), after.count("affine")) == (2, 0)
    assert_same_numbers(before, after)


def test_a_convolution_that_others_read_keeps_its_weights() -> None:
    build = GraphBuilder()
    conv = build.conv("x", 3)
    before = batch_norm_to_affine(build.graph(build.add("add", build.batch_norm(conv), conv)))
    after = fold_affine(before)
    assert after.count("affine") == 1
    assert_same_numbers(before, after)
