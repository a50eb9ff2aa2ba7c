"""Smaller networks: the same answers without dead channels, and whatever is pruned can be rebuilt and run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fleetseg.compression.removing import without_channels
from fleetseg.errors import UsageError
from fleetseg.metadata import ModelMetadata
from fleetseg.models import network_entry, network_names
from fleetseg.models.base import count_parameters
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint
from fleetseg.models.cost import multiply_adds

RandomNetwork = Callable[..., Any]

QUICK = ("enet", "espnet")


def kill(network: nn.Module, norms: dict[str, list[int]]) -> None:
    """Take scale and shift from channels of BatchNorms."""
    with torch.no_grad():
        for name, channels in norms.items():
            layer = network.get_submodule(name)
            layer.weight[channels] = 0
            layer.bias[channels] = 0


def same(one: nn.Module, other: nn.Module) -> None:
    x = torch.randn(2, 3, 41, 58)
    with torch.no_grad():
        expected, found = one(x), other(x)
    assert float((expected - found).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_dead_channels_of_espnet(random_network: RandomNetwork) -> None:
    network = random_network("espnet", 6, alpha2=1, alpha3=2)
    dead = {
        # Read by others too: the norm leaves them aside.
        "encoder.join2.0": list(range(40, 80)),
        "encoder.join3.0": list(range(256)[::2]),
        # Too few for a copy.
        "encoder.join1.0": [3],
    }
    kill(network, dead)
    smaller, removal = without_channels(network)
    same(network, smaller)
    assert removal.reads == {"encoder.join2.0": 91, "encoder.join3.0": 128}
    assert removal.dead == 169
    assert widths_of(smaller, "encoder.classifier") == (128, 6)
    assert multiply_adds(smaller, 64, 64) < multiply_adds(network, 64, 64)


def widths_of(network: nn.Module, name: str) -> tuple[int, int]:
    layer = network.get_submodule(name)
    return layer.in_channels, layer.out_channels


def test_dead_channels_of_enet_take_what_only_they_need(random_network: RandomNetwork) -> None:
    network = random_network("enet", 4)
    kill(network, {"encoder.stage2.0.extension.1.0": [1, 2, 3], "encoder.stage2.2.extension.3.0": [0]})
    # A constant that is not zero stays: the convolution behind it sees less of it at the border.
    norm = network.get_submodule("encoder.stage3.0.extension.1.0")
    with torch.no_grad():
        norm.weight[1], norm.bias[1] = 0, 0.5
    smaller, removal = without_channels(network)
    same(network, smaller)
    assert widths_of(smaller, "encoder.stage2.0.extension.0") == (128, 29)
    assert widths_of(smaller, "encoder.stage2.0.extension.2") == (29, 32)
    assert widths_of(smaller, "encoder.stage2.2.extension.2.1") == (32, 31)
    assert widths_of(smaller, "encoder.stage3.0.extension.2") == (32, 32)
    assert (removal.norms_before - removal.norms_after, removal.reads) == (4, {})


def test_a_network_that_lives_stays_as_it_is(random_network: RandomNetwork) -> None:
    network = random_network("espnet-c", 3, alpha2=0, alpha3=1)
    smaller, _ = without_channels(network)
    assert smaller.options == {"alpha2": 0, "alpha3": 1, "channels": {}}
    same(network, smaller)


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in network_names() if name not in QUICK)]
)
def test_every_network_can_be_pruned(name: str, random_network: RandomNetwork) -> None:
    # At a sixteenth of their width some have four channels a layer, and four always stay.
    options = {"width": 1 / 4} if "width" in network_entry(name).option_names() else {}
    network = random_network(name, 4, **options)
    smaller, _ = without_channels(network, 0.5)
    assert count_parameters(smaller) < 0.8 * count_parameters(network)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert smaller(x).shape == network(x).shape
    with torch.no_grad():
        smaller.train().training_logits(torch.randn(2, 3, 64, 96))


def test_pruned_twice_but_not_behind_a_norm_that_leaves_some_aside(random_network: RandomNetwork) -> None:
    network = random_network("espnet-c", 6, alpha2=0, alpha3=1)
    once, _ = without_channels(network, 0.25)
    twice, _ = without_channels(once, 0.25)
    assert count_parameters(twice) < count_parameters(once)
    kill(network, {"join3.0": list(range(100))})
    smaller, removal = without_channels(network, 0.25)
    assert removal.reads and smaller(torch.zeros(1, 3, 32, 32)).shape == (1, 6, 4, 4)
    with pytest.raises(UsageError, match="was compressed before; compress the one that it was made from"):
        without_channels(smaller)


@pytest.mark.parametrize("share", [-0.1, 0.95, float("nan")])
def test_shares(share: float, random_network: RandomNetwork) -> None:
    with pytest.raises(UsageError, match=r"a share from 0 to 0\.9 is needed"):
        without_channels(random_network("enet", 3), share)


def test_every_engine_takes_the_file(
    tmp_path: Path,
    random_network: RandomNetwork,
    metadata_of: Callable[..., ModelMetadata],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Checkpoint, ONNX and compiled C of a network whose norms leave channels aside."""
    import fleetseg
    from fleetseg.exporting import ExportRequest, export, scene

    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    network = random_network("espnet-c", 6, alpha2=1, alpha3=0)
    kill(network, {"join3.0": [*range(60, 80), *range(100, 130)], "join2.0": list(range(0, 130, 3))})
    smaller, removal = without_channels(network, 0.25)
    assert len(removal.reads) == 2
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, smaller, metadata_of(smaller))
    image = scene((48, 40))
    expected = fleetseg.load(path).logits(image)
    with torch.no_grad():
        batch = torch.from_numpy(metadata_of(smaller).normalisation.apply(image))
        np.testing.assert_allclose(expected, smaller(batch)[0].numpy(), rtol=1e-5, atol=1e-5)
    assert load_checkpoint(path)[0].options == smaller.options
    export(str(path), tmp_path / "a.onnx", ExportRequest("onnx", (48, 40)))
    np.testing.assert_allclose(fleetseg.load(tmp_path / "a.onnx").logits(image), expected, rtol=1e-3, atol=1e-3)
    export(str(path), tmp_path / "c", ExportRequest("c", (48, 40)))
    np.testing.assert_allclose(fleetseg.load(tmp_path / "c").logits(image), expected, rtol=1e-3, atol=1e-3)
