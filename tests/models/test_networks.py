"""Properties of every registered network, at any size, class count and channel count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fleetseg.models import build_network, network_entry, network_names
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint

few = settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
every_network = pytest.mark.parametrize("name", network_names())

sides = st.integers(1, 70)
class_counts = st.integers(2, 37)
channel_counts = st.integers(1, 20)
seeds = st.integers(0, 2**31)

Build = Callable[..., Any]


def images(seed: int, batch: int, channels: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def assert_same(left: Tensor, right: Tensor, tolerance: float = 1e-4) -> None:
    """Equal up to rounding, relative to the largest logit."""
    scale = max(1.0, float(right.abs().max()))
    torch.testing.assert_close(left, right, rtol=0, atol=tolerance * scale)


@every_network
@few
@given(height=sides, width=sides, classes=class_counts, channels=channel_counts, batch=st.integers(1, 3), seed=seeds)
def test_any_size(
    name: str, height: int, width: int, classes: int, channels: int, batch: int, seed: int, random_network: Build
) -> None:
    network = random_network(name, classes, channels, seed)
    with torch.no_grad():
        logits = network(images(seed, batch, channels, height, width))
    stride = network.output_stride
    assert logits.shape == (batch, classes, -(-height // stride), -(-width // stride))
    assert logits.isfinite().all()
    assert logits.std() > 0


def test_output_strides() -> None:
    strides = {name: network_entry(name).build(2).output_stride for name in network_names()}
    assert strides == {"enet": 1, "espnet": 1, "enet-encoder": 8, "espnet-a": 8, "espnet-b": 8, "espnet-c": 8}


@every_network
@few
@given(height=sides, width=sides, classes=class_counts, channels=channel_counts, seed=seeds)
def test_every_weight_gets_a_finite_gradient(
    name: str, height: int, width: int, classes: int, channels: int, seed: int
) -> None:
    torch.manual_seed(seed)
    network = build_network(name, classes, channels).train()
    logits = network(images(seed, 2, channels, height, width))
    target = torch.randint(classes, (2, *logits.shape[-2:]))
    F.cross_entropy(logits, target).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_network
def test_every_weight_matters(name: str, random_network: Build) -> None:
    network = random_network(name, 6)
    network(images(1, 1, 3, 64, 64)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, key


@every_network
@few
@given(height=sides, width=sides, seed=seeds)
def test_evaluation_does_not_depend_on_the_batch(
    name: str, height: int, width: int, seed: int, random_network: Build
) -> None:
    network = random_network(name, 5, seed=seed)
    batch = images(seed, 3, 3, height, width)
    with torch.no_grad():
        together = network(batch)
        alone = torch.cat([network(image) for image in batch.split(1)])
    assert_same(together, alone)


@every_network
@few
@given(height=sides, width=sides, channels=channel_counts, seed=seeds)
def test_channels_last_equals_contiguous(
    name: str, height: int, width: int, channels: int, seed: int, random_network: Build
) -> None:
    network = random_network(name, 5, channels, seed)
    batch = images(seed, 2, channels, height, width)
    with torch.no_grad():
        contiguous = network(batch)
        network.to(memory_format=torch.channels_last)
        assert_same(network(batch.to(memory_format=torch.channels_last)), contiguous)


@every_network
@few
@given(height=sides, width=sides, seed=seeds)
def test_padding_is_zeros_on_the_right_and_below(
    name: str, height: int, width: int, seed: int, random_network: Build
) -> None:
    network = random_network(name, 5, seed=seed)
    batch = images(seed, 1, 3, height, width)
    by_hand = torch.zeros(1, 3, -(-height // 8) * 8, -(-width // 8) * 8)
    by_hand[..., :height, :width] = batch
    with torch.no_grad():
        logits, whole = network(batch), network(by_hand)
    assert torch.equal(logits, whole[..., : logits.shape[-2], : logits.shape[-1]])


@every_network
@few
@given(height=sides, width=sides, classes=class_counts, channels=channel_counts, seed=seeds)
def test_the_file_alone_rebuilds_the_network(
    name: str,
    height: int,
    width: int,
    classes: int,
    channels: int,
    seed: int,
    random_network: Build,
    metadata_of: Build,
    tmp_path: Path,
) -> None:
    network = random_network(name, classes, channels, seed)
    metadata = metadata_of(network)
    save_checkpoint(tmp_path / "a.safetensors", network, metadata)
    rebuilt, read = load_checkpoint(tmp_path / "a.safetensors")
    assert read == metadata
    assert type(rebuilt) is type(network)
    assert not rebuilt.training
    batch = images(seed, 1, channels, height, width)
    with torch.no_grad():
        assert torch.equal(rebuilt(batch), network(batch))


@every_network
def test_evaluating_changes_nothing(name: str, random_network: Build) -> None:
    network = random_network(name, 4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    batch = images(3, 2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(batch), network(batch))
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
