from __future__ import annotations

from fleetseg.compiler.passes.batch_norm_to_affine import batch_norm_to_affine

from ..graphs import GraphBuilder, assert_same_numbers


def test_every_batch_norm_becomes_an_affine() -> None:
    build = GraphBuilder()
    before = build.graph(build.batch_norm(build.conv(build.batch_norm("x"), 5)))
    after = batch_norm_to_affine(before)
    assert (after.count("batch_norm"), after.count("affine")) == (0, 2)
    assert_same_numbers(before, after)
