"""The modules of Fig. 3 and 5: closed formulas against Fig. 3(g), against the built modules, and their bad input."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fleetseg.errors import UnknownNameError
from fleetseg.models import build_network
from fleetseg.models.base import count_parameters
from fleetseg.models.esp import ESP, fused
from fleetseg.models.module_cost import convolution_memory, convolution_weights, gradient_field
from fleetseg.models.module_formulas import (
    FIGURE_3G,
    ModuleSizes,
    module_memory,
    module_parameters,
    module_receptive_field,
)
from fleetseg.models.modules import MODULES, build_module

every_module = pytest.mark.parametrize("name", MODULES)


# MobileNet's parameters are 11,009 in print: a misprint, since M(n² + N) = 100 · (9 + 100) = 10,900.
@pytest.mark.parametrize(
    ("name", "parameters", "memory", "field"),
    [
        ("mobilenet", 10_900, 2.39, 3),
        ("shufflenet", 2_180, 1.67, 3),
        ("inception", 28_000, 2.39, 3),
        ("resnext", 38_000, 8.37, 3),
        ("asp", 450_000, 5.98, 33),
        ("esp", 20_000, 1.43, 33),
    ],
)
def test_figure_3g(name: str, parameters: int, memory: float, field: int) -> None:
    assert module_parameters(name, FIGURE_3G) == parameters
    assert abs(module_memory(name, FIGURE_3G) / 2**20 - memory) < 0.01
    assert module_receptive_field(name, FIGURE_3G) == field


def built(name: str, sizes: ModuleSizes) -> nn.Module:
    return build_module(
        name,
        sizes.in_channels,
        sizes.out_channels,
        branches=sizes.branches,
        groups=sizes.groups,
        width_divider=sizes.width_divider,
    )


@every_module
@settings(max_examples=6, deadline=None)
@given(units=st.integers(2, 6), branches=st.integers(1, 6), side=st.integers(1, 9))
def test_formulas_against_built_modules(name: str, units: int, branches: int, side: int) -> None:
    channels = 16 * units
    sizes = ModuleSizes(channels, channels, branches=branches, groups=4, width_divider=4, width=side, height=side + 1)
    module = built(name, sizes)
    assert convolution_weights(module) == module_parameters(name, sizes)
    assert convolution_memory(module, channels, side, side + 1) == module_memory(name, sizes)


@every_module
@pytest.mark.parametrize("branches", [1, 3, 5])
def test_receptive_field_against_a_gradient(name: str, branches: int) -> None:
    sizes = ModuleSizes(16, 16, branches=branches, groups=2)
    assert gradient_field(built(name, sizes), 16, at_most=40) == module_receptive_field(name, sizes)


def test_a_field_that_does_not_fit_is_not_cut() -> None:
    with pytest.raises(ValueError, match="the field reaches beyond 16 pixels"):
        gradient_field(build_module("esp", 8, 8, branches=4), 8, at_most=16)


# spec/architectures.md, the table of Fig. 5.
@pytest.mark.parametrize(
    ("name", "of_64", "of_128", "network"),
    [
        ("esp", 7_872, 32_384, 282_146),
        ("mobilenet", 5_056, 18_304, 234_274),
        ("shufflenet", 928, 2_880, 179_746),
        ("inception", 11_968, 46_708, 333_310),
        ("resnext", 14_712, 61_259, 382_451),
        ("resnet", 74_112, 295_680, 1_204_514),
    ],
)
def test_figure_5(name: str, of_64: int, of_128: int, network: int) -> None:
    assert count_parameters(build_module(name, 64, 64)) == of_64
    assert count_parameters(build_module(name, 128, 128)) == of_128
    with torch.device("meta"):
        assert count_parameters(build_network(f"espnet-c-{name}", 20)) == network


def test_asp_has_the_pyramid_at_full_width() -> None:
    assert count_parameters(build_module("asp", 64, 64)) == 5 * 9 * 64 * 64 + 3 * 64


@every_module
def test_modules_change_width_and_keep_size(name: str) -> None:
    module = build_module(name, 16, 32, groups=2).eval()
    x = torch.randn(2, 16, 5, 7)
    assert module(x).shape == (2, 32, 5, 7)
    torch.testing.assert_close(module(x)[:1], module(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["esp", "shufflenet", "resnext", "resnet"])
def test_a_residual_is_the_input_added_before_the_norm(name: str) -> None:
    torch.manual_seed(0)
    with_residual, without = build_module(name, 16, 16), build_module(name, 16, 16, residual=False)
    without.load_state_dict(with_residual.state_dict())
    x = torch.rand(1, 16, 4, 4)
    difference = with_residual.eval()(x) - without.eval()(x)
    for activation in [m for m in (*with_residual.modules(), *without.modules()) if isinstance(m, nn.PReLU)]:
        nn.init.ones_(activation.weight)  # linear: the difference is the input, scaled by the norm
    difference = with_residual(x) - without(x)
    scale = 1 / torch.sqrt(torch.tensor(1.0 + 1e-3))
    torch.testing.assert_close(difference, x * scale, rtol=1e-4, atol=1e-5)


def test_shuffling_takes_a_channel_of_each_group_in_turn() -> None:
    module = build_module("shufflenet", 16, 16, groups=2, width_divider=2)
    seen = []
    module.depthwise.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 16, 2, 3)
    module.eval()(x)
    assert torch.equal(seen[0], nn.ChannelShuffle(2)(module.reduce(x)))


def test_fusion() -> None:
    maps = [torch.full((1, channels, 1, 1), 10.0**k) for k, channels in enumerate((3, 2, 2, 2))]
    values = {start: [float(maps[0, 0, 0, 0]) for maps in fused(maps, start)] for start in ("off", "first", "second")}
    assert values == {
        "off": [1, 10, 100, 1000],
        "first": [1, 11, 111, 1111],
        "second": [1, 10, 110, 1110],
    }
    assert [len(m[0]) for m in fused(maps, "first")] == [3, 2, 2, 2]


def test_formulas_of_a_kernel_that_is_no_3_by_3() -> None:
    sizes = dataclasses.replace(FIGURE_3G, kernel_size=5)
    assert module_parameters("esp", sizes) == 100 * 20 + 5 * 25 * 20**2
    assert module_receptive_field("esp", sizes) == 65
    assert module_receptive_field("resnet", sizes) == 9


@pytest.mark.parametrize("ask", [build_module, lambda name, *_: module_parameters(name, FIGURE_3G)])
def test_unknown_modules(ask: object) -> None:
    with pytest.raises(UnknownNameError, match=r"^There is no module 'mobilnet'; did you mean mobilenet"):
        ask("mobilnet", 16, 16)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "channels", "options", "sentence"),
    [
        ("esp", 4, {"branches": 5}, "an ESP module of 4 channels has 1 to 4 branches, not 5"),
        ("inception", 4, {"branches": 5}, "an Inception module of 4 channels has 1 to 4 branches, not 5"),
        ("asp", 32, {"branches": 0}, "an ASP module of 32 channels has 1 to 10 branches, not 0"),
        ("shufflenet", 24, {}, "inner width 6 cannot have 4 groups; all three must be multiples of it"),
        ("shufflenet", 2, {}, "inner width 0 cannot have 4 groups"),
        ("resnet", 0, {}, "a module from 0 to 0 channels is impossible; at least 1 is needed"),
    ],
)
def test_impossible_sizes(name: str, channels: int, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_module(name, channels, channels, **options)  # type: ignore[arg-type]


def test_a_stand_alone_esp_with_an_unknown_fusion() -> None:
    with pytest.raises(ValueError, match="fusion is 'third'; use one of off, first, second"):
        ESP(16, 16, fusion="third")
