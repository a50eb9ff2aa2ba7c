"""ENet's choices of design (section 4 of its paper): what each changes, and that it changes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fleetseg.models import build_network
from fleetseg.models.base import count_parameters
from fleetseg.models.blocks import MaxUnpool2x2, NormAct
from fleetseg.models.enet_blocks import Bottleneck, DownBottleneck, StochasticDepth, Style, UpBottleneck

Build = Callable[..., Any]


def bare(**options: Any) -> Any:
    with torch.device("meta"):
        return build_network("enet", 20, **options)


def of_kind(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"dilated": False}, 0),
        # Four asymmetric bottlenecks of 19,040 become regular ones of 18,016.
        ({"asymmetric": False}, 4 * (18_016 - 19_040)),
        # The strided projections: 2×2 → 1×1, of 16→16 and 64→32 channels.
        ({"down_kernel_size": 1}, -3 * (16 * 16 + 64 * 32)),
        # Every PReLU's slopes: initial 16; 1.x 16+16+64 five times; 2.x and 3.x 32+32+128 seventeen times.
        ({"encoder_activation": "relu"}, -(16 + 5 * 96 + 17 * 192)),
        ({"unpooling": "bilinear"}, 0),
        ({"regularisation": "depth"}, 0),
        ({"regularisation": "none"}, 0),
    ],
)
def test_parameters(options: dict[str, Any], difference: int) -> None:
    assert count_parameters(bare(**options)) - 364_376 == difference


def test_32_initial_maps() -> None:
    network = bare(initial_maps=32)
    assert network.encoder.initial.conv.out_channels == 29
    assert network.stage5.extension[0].in_channels == network.fullconv.in_channels == 32
    with torch.device("meta"):
        assert network.encoder.initial(torch.empty(1, 3, 8, 8)).shape == (1, 32, 4, 4)


def test_without_dilation_or_asymmetry_all_middle_convolutions_are_3_by_3() -> None:
    middles = [
        convolution
        for convolution in of_kind(bare(dilated=False, asymmetric=False).encoder, nn.Conv2d)
        if convolution.in_channels == convolution.out_channels == 32 and convolution.stride == (1, 1)
    ]
    assert len(middles) == 17
    assert {(convolution.kernel_size, convolution.dilation) for convolution in middles} == {((3, 3), (1, 1))}


def test_bilinear_needs_no_indices(random_network: Build) -> None:
    network = random_network("enet", 3, unpooling="bilinear")
    assert not of_kind(network, MaxUnpool2x2)
    block = network.up4
    x = torch.randn(1, 128, 3, 4)
    with torch.no_grad():
        result = block(x, torch.empty(0))
        expected = block.act(nn.Upsample(scale_factor=2, mode="bilinear")(block.skip(x)) + block.extension(x))
    assert torch.equal(result, expected)


def test_activations_by_part() -> None:
    network = bare(encoder_activation="relu", decoder_activation="prelu")
    assert not of_kind(network.encoder, nn.PReLU)
    assert not of_kind(network.up4, nn.ReLU)
    assert not of_kind(network.stage5, nn.ReLU)
    assert not of_kind(bare(encoder_activation="relu"), nn.PReLU)


def test_pre_activation_is_in_the_order_of_the_paper_it_is_from() -> None:
    """BatchNorm and activation before each convolution of the branch, an untouched sum, and one pair at the end."""
    style = Style(pre_activation=True)
    for block in (Bottleneck(64, style=style), DownBottleneck(16, 64, 0.1, style), UpBottleneck(128, 64, style)):
        kinds = [NormAct if isinstance(layer, NormAct) else nn.Module for layer in block.extension][:6]
        assert kinds == [NormAct, nn.Module] * 3
        assert isinstance(block.act, nn.Identity)
        assert block.extension[0][0].num_features == block.extension[1].in_channels
    block = Bottleneck(64, style=style).eval()
    nn.init.zeros_(block.extension[5].weight)
    x = torch.randn(1, 64, 4, 4)
    assert torch.equal(block(x), x)
    network = bare(pre_activation=True)
    assert isinstance(network.before_last, NormAct)
    with torch.device("meta"):
        assert isinstance(build_network("enet-encoder", 3, pre_activation=True).before_head, NormAct)


def test_stochastic_depth_drops_whole_branches_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    depth = StochasticDepth(0.25).train()
    x = torch.ones(4000, 2, 3, 3)
    result = depth(x)
    assert set(result.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert (result.flatten(1).std(dim=1) == 0).all()
    assert abs(float(result.mean()) - 1) < 0.05
    assert torch.equal(depth.eval()(x), x)


def test_rates_of_the_encoder_and_none_in_the_decoder() -> None:
    for regularisation, kind in (("dropout", nn.Dropout2d), ("depth", StochasticDepth)):
        network = bare(regularisation=regularisation)
        assert [layer.p for layer in of_kind(network, kind)] == 5 * [0.01] + 17 * [0.1]
    assert not of_kind(bare(regularisation="none"), nn.Dropout2d)
