from __future__ import annotations

import pytest

from fleetseg.compiler.passes.lower_transposed_conv import lower_transposed_conv

from ..graphs import GraphBuilder, assert_same_numbers


@pytest.mark.parametrize(
    ("kernel", "padding", "output_padding", "dilation"),
    [(2, 0, 0, 1), (3, 1, 1, 1), (4, 1, 0, 1), (5, 2, 1, 1), (3, 2, 1, 2), (3, 0, 1, 1), (1, 0, 1, 1)],
)
def test_no_zero_is_stuffed(kernel: int, padding: int, output_padding: int, dilation: int) -> None:
    build = GraphBuilder(height=5, width=7)
    window = {
        "stride": (2, 2), "padding": (padding,) * 2, "output_padding": (output_padding,) * 2,
        "dilation": (dilation,) * 2, "groups": 1,
    }  # fmt: skip
    weights = build.constant(3, 4, kernel, kernel), build.constant(4)
    before = build.graph(build.add("conv_transpose2d", "x", *weights, **window))
    after = lower_transposed_conv(before)
    assert [after.count(op) for op in ("conv_transpose2d", "conv2d", "pixel_shuffle")] == [0, 1, 1]
    assert_same_numbers(before, after)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "dilation", "groups"),
    [
        ((3, 3), (2, 2), (0, 0), (0, 0), (1, 1), 1),
        ((4, 2), (3, 1), (1, 0), (2, 0), (2, 1), 3),
        ((2, 3), (1, 1), (1, 2), (0, 0), (1, 2), 1),
        ((1, 2), (4, 3), (0, 0), (1, 2), (1, 1), 3),
        ((3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 3),
    ],
)
def test_any_stride_any_size_any_groups(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    build = GraphBuilder(height=5, width=7)
    weights = build.constant(3, 4 // groups + 1, *kernel), build.constant((4 // groups + 1) * groups)
    window = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    before = build.graph(build.add("conv_transpose2d", "x", *weights, groups=groups, **window))
    after = lower_transposed_conv(before)
    assert after.count("conv_transpose2d") == 0
    assert_same_numbers(before, after)


def test_the_decoders_three_by_three_has_nine_of_sixteen_taps() -> None:
    build = GraphBuilder(channels=1)
    window = {"stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1), "dilation": (1, 1), "groups": 1}
    after = lower_transposed_conv(build.graph(build.add("conv_transpose2d", "x", build.constant(1, 1, 3, 3), **window)))
    weight = after.constants[after.nodes[0].inputs[1]]
    assert weight.shape == (4, 1, 2, 2)
    assert (weight != 0).sum() == 9
