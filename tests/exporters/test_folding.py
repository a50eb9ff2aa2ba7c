"""Convolutions that take the BatchNorm behind them in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fleetseg.exporters.folding import fold_batch_norms
from fleetseg.models import build_network


def settled(module: nn.Module) -> nn.Module:
    """With statistics and factors that are not those of the start."""
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            for values in (one.weight, one.bias, one.running_mean):
                nn.init.normal_(values)
            nn.init.uniform_(one.running_var, 0.5, 2)
    return module.eval()


def count(module: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in module.modules())


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_values(kind: type[nn.Conv2d], groups: int, bias: bool) -> None:
    inner = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), kind(6, 2, 2, groups=groups, bias=bias))
    module = settled(nn.Sequential(kind(4, 6, 3, groups=groups, bias=bias), inner, nn.BatchNorm2d(2)))
    image = torch.randn(2, 4, 7, 8)
    expected = module(image)
    fold_batch_norms(module)
    torch.testing.assert_close(module(image), expected)
    assert count(module) == (2 if kind is nn.ConvTranspose2d and groups == 2 else 0)


def test_what_is_used_twice_stays() -> None:
    conv, norm, act = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
    module = settled(nn.Sequential(conv, nn.BatchNorm2d(3), act, conv, norm, nn.Conv2d(3, 3, 1), act, norm))
    image = torch.randn(1, 3, 4, 5)
    expected = module(image)
    fold_batch_norms(module)
    assert torch.equal(module(image), expected)
    assert count(module) == 2


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_a_subclass_stays() -> None:
    module = settled(nn.Sequential(Doubled(3, 3, 1), nn.BatchNorm2d(3)))
    fold_batch_norms(module)
    assert count(module) == 1


def test_enet_keeps_the_norms_behind_joins_alone() -> None:
    torch.manual_seed(0)
    network = settled(build_network("enet", 3))
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        expected = network(image)
        before = count(network)
        fold_batch_norms(network)
        torch.testing.assert_close(network(image), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert before > 60
    assert count(network) < 6
