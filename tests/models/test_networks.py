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

from fleetseg.metadata import ModelMetadata
from fleetseg.models import SegmentationNetwork, network_entry, network_names
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint

few = settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: Networks of the two papers. Those they are compared with are many and deep: in the quick suite they get one pass
#: through all properties (`test_all_properties_of_a_compared_network`), here they are slow.
OWN = ("enet", "enet-encoder", "espnet-a", "espnet-b", "espnet-c", "espnet")
COMPARED = tuple(name for name in network_names() if name not in OWN)
every_network = pytest.mark.parametrize(
    "name", [*OWN, *(pytest.param(name, marks=pytest.mark.slow) for name in COMPARED)]
)

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
    check_size(random_network(name, classes, channels, seed), images(seed, batch, channels, height, width))


def check_size(network: SegmentationNetwork, batch: Tensor) -> None:
    """Logits of the image's size, finite, not all the same."""
    with torch.no_grad():
        logits = network(batch)
    height, width = batch.shape[2:]
    stride = network.output_stride
    assert logits.shape == (len(batch), network.num_classes, -(-height // stride), -(-width // stride))
    assert logits.isfinite().all()
    # The plain decoder on breast biopsies ends in a ReLU: a small image's logits may all be zero.
    assert logits.std() > 0 or network.registered_name == "biopsy-resnet18"


def test_output_strides() -> None:
    with torch.device("meta"):
        strides = {name: network_entry(name).build(2).output_stride for name in network_names()}
    eighth = {"enet-encoder", "espnet-a", "espnet-b", "espnet-c", "erfnet-encoder"}
    assert strides == {name: 8 if name in eighth else 1 for name in network_names()}


@every_network
@few
@given(height=sides, width=sides, classes=class_counts, channels=channel_counts, seed=seeds)
def test_every_weight_gets_a_finite_gradient(
    name: str, height: int, width: int, classes: int, channels: int, seed: int, random_network: Build
) -> None:
    check_gradients(random_network(name, classes, channels, seed), images(seed, 2, channels, height, width))


def training_loss(network: SegmentationNetwork, batch: Tensor) -> Tensor:
    """Of labels drawn at random, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    losses = []
    for logits, share in network.training_logits(batch):
        target = torch.randint(network.num_classes, (len(batch), *logits.shape[-2:]), generator=generator)
        losses.append(share * F.cross_entropy(logits, target))
    return torch.stack(losses).sum()


def check_gradients(network: SegmentationNetwork, batch: Tensor) -> None:
    """Every weight that trains gets a gradient, and a finite one; the others are the fixed bilinear ones of FCN."""
    network.train().zero_grad()
    training_loss(network, batch).backward()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert network.registered_name == "fcn-8s", key
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    network.eval()


@every_network
def test_every_weight_matters(name: str, random_network: Build) -> None:
    network = random_network(name, 6)
    sum(logits.square().sum() for logits, _ in network.training_logits(images(1, 1, 3, 64, 64))).backward()
    for key, parameter in network.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().max() > 0, key


@every_network
@few
@given(height=sides, width=sides, seed=seeds)
def test_evaluation_does_not_depend_on_the_batch(
    name: str, height: int, width: int, seed: int, random_network: Build
) -> None:
    check_batches(random_network(name, 5, seed=seed), images(seed, 3, 3, height, width))


def check_batches(network: SegmentationNetwork, batch: Tensor) -> None:
    """Together as alone."""
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
    check_channels_last(random_network(name, 5, channels, seed), images(seed, 2, channels, height, width))


def check_channels_last(network: SegmentationNetwork, batch: Tensor) -> None:
    """The same in either memory format."""
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
    multiple = network.size_multiple
    by_hand = torch.zeros(1, 3, -(-height // multiple) * multiple, -(-width // multiple) * multiple)
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
    check_file(network, images(seed, 1, channels, height, width), metadata_of(network), tmp_path)


def check_file(network: SegmentationNetwork, batch: Tensor, metadata: ModelMetadata, tmp_path: Path) -> None:
    """Saved and rebuilt from the file alone."""
    save_checkpoint(tmp_path / "a.safetensors", network, metadata)
    rebuilt, read = load_checkpoint(tmp_path / "a.safetensors")
    assert read == metadata
    assert type(rebuilt) is type(network)
    assert not rebuilt.training
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


@pytest.mark.parametrize("name", [name for name in COMPARED if name != "erfnet-encoder"])
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=sides, width=sides, classes=class_counts, channels=channel_counts, seed=seeds)
def test_all_properties_of_a_compared_network(
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
    batch = images(seed, 2, channels, height, width)
    check_size(network, batch)
    check_batches(network, batch)
    check_file(network, batch, metadata_of(network), tmp_path)
    check_gradients(network, batch)
    check_channels_last(network, batch)


@every_network
def test_one_training_step_lowers_the_loss(name: str, random_network: Build) -> None:
    check_step(random_network(name, 4))


@pytest.mark.parametrize("name", ["segnet", "sqnet", "deeplab-v2", "lrr-4x", "biopsy-espnet"])
def test_one_training_step_lowers_the_loss_of_a_compared_network(name: str, random_network: Build) -> None:
    check_step(random_network(name, 4))


def check_step(network: SegmentationNetwork) -> None:
    """Evaluated as in training, but without what is drawn at random."""
    for module in network.train().modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    batch = images(7, 2, 3, 48, 64)
    before = training_loss(network, batch)
    before.backward()
    with torch.no_grad():
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        norm = torch.stack([parameter.grad.norm() for parameter in trained]).norm()
        assert norm > 0
        # The longest of three steps down the gradient that is short enough for the network's curvature.
        done, losses = 0.0, []
        for length in (1e-2, 1e-3, 1e-4):
            for parameter in trained:
                parameter -= (length - done) * parameter.grad / norm
            done = length
            losses.append(float(training_loss(network, batch)))
        assert min(losses) < float(before.detach())
