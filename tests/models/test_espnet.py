"""ESPNet's switches: where each one acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fleetseg.models import build_network
from fleetseg.models.esp import ESP
from fleetseg.models.espnet import AddedImage
from fleetseg.models.espnet_switches import ConvNormAct
from fleetseg.models.modules import MODULES

FAMILY = ("espnet-a", "espnet-b", "espnet-c", "espnet")
family = pytest.mark.parametrize("name", FAMILY)


def bare(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return build_network(name, 7, **options)


def esps(network: nn.Module) -> list[ESP]:
    return [module for module in network.modules() if isinstance(module, ESP)]


@family
def test_activation(name: str) -> None:
    network = bare(name, act="relu", alpha3=1)
    assert not any(isinstance(module, nn.PReLU) for module in network.modules())


@family
def test_residual_fusion_and_dilation_reach_every_module(name: str) -> None:
    assert any(module.residual for module in esps(bare(name, alpha3=1)))
    network = bare(name, alpha3=1, residual=False, fusion="off", dilated=False)
    assert {(module.residual, module.fusion) for module in esps(network)} == {(False, "off")}
    dilations = {branch.dilation for module in esps(network) for branch in module.branches}
    assert dilations == {(1, 1)}


@family
@pytest.mark.parametrize("module", MODULES)
def test_any_module_takes_the_place_of_those_that_keep_the_size(name: str, module: str) -> None:
    network = bare(name, module=module, downsampling="conv", alpha2=2, alpha3=3)
    encoder = getattr(network, "encoder", network)
    assert [len(encoder.level2), len(encoder.level3)] == [2, 3]
    assert {type(part) for part in (*encoder.level2, *encoder.level3)} == {MODULES[module]}
    assert type(encoder.down2) is type(encoder.down3) is ConvNormAct


@family
def test_k_of_strided_modules_is_its_own(name: str) -> None:
    network = bare(name, down_branches=3, branches=2, alpha3=1)
    encoder = getattr(network, "encoder", network)
    assert [len(encoder.down2.branches), len(encoder.down3.branches)] == [3, 3]
    assert [len(encoder.level2[0].branches), len(encoder.level3[0].branches)] == [2, 2]


@pytest.mark.parametrize("name", ["espnet-c", "espnet"])
def test_an_added_image_reaches_both_levels_and_widens_neither(name: str, random_network: Callable[..., Any]) -> None:
    network = random_network(name, 5, image_input="added", alpha2=1, alpha3=1)
    encoder = getattr(network, "encoder", network)
    added = [module for module in encoder.modules() if isinstance(module, AddedImage)]
    assert [module.project.out_channels for module in added] == [16, 128]
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        level1, joined1, joined2, _ = encoder.features(image)
        assert (joined1.shape[1], joined2.shape[1]) == (16, 128)
        for module in added:
            for part in (module.norm_act[0].weight, module.norm_act[0].bias):
                part.zero_()
        assert torch.equal(encoder.features(image)[1], level1)
        assert not torch.equal(encoder.features(image)[2], joined2)
