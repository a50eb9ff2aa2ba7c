"""PyTorch and the interpreter agree on what a captured graph means."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fleetseg.compiler.capture import capture
from fleetseg.compiler.interpret import interpret
from fleetseg.errors import CompileError
from fleetseg.models import build_network

from .networks import randomised

#: Shallow where depth repeats the same blocks; "enet-encoder" and "espnet-c" are parts of the full networks.
NETWORKS = {"enet": {}, "espnet-a": {"alpha3": 1}, "espnet-b": {"alpha3": 1}, "espnet": {"alpha3": 1}}


@pytest.mark.parametrize("name", NETWORKS)
def test_registered_networks_mean_the_same(name: str) -> None:
    network = randomised(build_network(name, 7, **NETWORKS[name]), seed=1)
    assert_same(network, size=(44, 30))


def assert_same(network: nn.Module, size: tuple[int, int], channels: int = 3) -> None:
    image = torch.randn(1, channels, size[1], size[0])
    graph = capture(network, size, channels)
    ours = interpret(graph, {next(iter(graph.inputs)): image.numpy()})[0]
    with torch.inference_mode():
        theirs = network(image).numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1.0, float(np.abs(theirs).max())))


def test_pytorchs_own_warnings_do_not_reach_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        capture(nn.Conv2d(3, 2, 1), (4, 4))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=3),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.ConvTranspose2d(3, 6, 4, stride=3, padding=1, output_padding=2, groups=3, dilation=2),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d((2, 3), 1),
        nn.ReLU6(),
        nn.LeakyReLU(0.2),
        nn.ELU(0.5),
        nn.SiLU(),
        nn.Sigmoid(),
        nn.Hardswish(),
        nn.PReLU(),
        nn.ZeroPad2d((1, 2, 0, 3)),
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_single_operations_mean_the_same(layer: nn.Module) -> None:
    torch.manual_seed(0)
    assert_same(layer.eval(), size=(13, 12))


def test_unknown_operation_is_named_with_its_place() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Softsign()))
    with pytest.raises(CompileError, match=r"aten\.abs.* at 1\.1 \(Softsign\)"):
        capture(network, (8, 8))


def test_export_failure_is_one_sentence() -> None:
    with pytest.raises(CompileError, match="Linear cannot be exported for 8×8"):
        capture(nn.Linear(5, 2), (8, 8))


def test_capture_leaves_the_module_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = network[1].running_mean.clone()
    capture(network, (16, 16))
    assert network.training
    assert torch.equal(before, network[1].running_mean)
