"""Parameter counts, to the digit, as architectures.md derives them from the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fleetseg.models import SegmentationNetwork, build_network
from fleetseg.models.base import count_parameters
from fleetseg.models.enet import ENet
from fleetseg.models.enet_blocks import Bottleneck, DownBottleneck, InitialBlock, Style, UpBottleneck
from fleetseg.models.esp import ESP

CLASSES = (11, 12, 19, 20, 21, 37)


def bare(name: str, num_classes: int, **options: Any) -> SegmentationNetwork:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return build_network(name, num_classes, **options)


def count(name: str, num_classes: int, **options: Any) -> int:
    return count_parameters(bare(name, num_classes, **options))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (363_791, 363_856, 364_311, 364_376, 364_441, 365_481)),
        ({"decoder_activation": "prelu"}, (364_127, 364_192, 364_647, 364_712, 364_777, 365_817)),
        ({"bias": False}, (363_087, 363_151, 363_599, 363_663, 363_727, 364_751)),
        ({"last_kernel_size": 3}, (364_671, 364_816, 365_831, 365_976, 366_121, 368_441)),
    ],
)
def test_enet(options: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert tuple(count("enet", c, **options) for c in CLASSES) == expected


def test_the_paper_counts_enet_with_its_running_statistics() -> None:
    network = bare("enet", 20)
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert statistics == 8_352
    assert round((count_parameters(network) + statistics) / 1e6, 2) == 0.37


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: InitialBlock(3), 412),
        (lambda: DownBottleneck(16, 64, 0.01), 4_656),
        (lambda: Bottleneck(64), 4_656),
        (lambda: DownBottleneck(64, 128, 0.1), 22_112),
        (lambda: Bottleneck(128), 18_016),
        (lambda: Bottleneck(128, dilation=16), 18_016),
        (lambda: Bottleneck(128, asymmetric=True), 19_040),
        (lambda: UpBottleneck(128, 64, Style("relu")), 13_904),
        (lambda: Bottleneck(64, style=Style("relu")), 4_560),
        (lambda: UpBottleneck(64, 16, Style("relu")), 1_572),
        (lambda: Bottleneck(16, style=Style("relu")), 324),
        (lambda: ESP(64, 64, 5), 7_872),
        (lambda: ESP(128, 128, 5), 32_384),
        (lambda: ESP(19, 64, 5, stride=2), 9_156),
        (lambda: ESP(131, 128, 5, stride=2), 58_659),
    ],
)
def test_blocks(build: Any, expected: int) -> None:
    assert count_parameters(build()) == expected


def test_repeated_stages_of_enet() -> None:
    network = bare("enet", 2)
    assert isinstance(network, ENet)
    assert count_parameters(network.encoder.stage2) == count_parameters(network.encoder.stage3) == 146_176


@pytest.mark.parametrize(
    ("alpha3", "expected"),
    [
        (3, (185_225, 185_481, 187_273, 187_529, 187_785, 191_881)),
        (5, (249_993, 250_249, 252_041, 252_297, 252_553, 256_649)),
        (8, (347_145, 347_401, 349_193, 349_449, 349_705, 353_801)),
    ],
)
def test_espnet_c(alpha3: int, expected: tuple[int, ...]) -> None:
    assert tuple(count("espnet-c", c, alpha3=alpha3) for c in CLASSES) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha3": 3}, (191_220, 192_273, 201_029, 202_649, 204_102, 234_283)),
        ({"alpha3": 5}, (255_988, 257_041, 265_797, 267_417, 268_870, 299_051)),
        ({"alpha3": 8}, (353_140, 354_193, 362_949, 364_569, 366_022, 396_203)),
        ({"alpha3": 8, "decoder_channels": 19}, (353_437, 354_517, 363_462, 365_109, 366_589, 397_202)),
    ],
)
def test_espnet(options: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert tuple(count("espnet", c, **options) for c in CLASSES) == expected


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("espnet-a", {"branches": 2}, 358_688),
        ("espnet-a", {"branches": 4}, 215_328),
        ("espnet-a", {"branches": 5}, 183_328),
        ("espnet-a", {"branches": 6}, 165_408),
        ("espnet-a", {"branches": 7}, 152_608),
        ("espnet-a", {"branches": 8}, 143_648),
        ("espnet-a", {"act": "relu"}, 182_608),
        ("espnet-a", {"residual": False}, 183_328),
        ("espnet-b", {}, 186_464),
        ("espnet-c", {"reduce_kernel_size": 3}, 276_617),
        ("espnet-c", {"dilated": False}, 187_529),
    ],
)
def test_rows_of_the_espnet_papers_table_2(name: str, options: dict[str, Any], expected: int) -> None:
    assert count(name, 20, **options) == expected


@settings(max_examples=12)
@given(classes=st.integers(2, 255))
def test_enet_for_any_class_count(classes: int) -> None:
    assert count("enet", classes) == 363_076 + 65 * classes
    assert count("enet-encoder", classes) == 338_156 + 129 * classes


@settings(max_examples=12)
@given(classes=st.integers(2, 255), alpha3=st.integers(1, 10))
def test_espnet_for_any_class_count(classes: int, alpha3: int) -> None:
    encoder = 85_257 + 32_384 * alpha3 + 256 * classes
    assert count("espnet-c", classes, alpha3=alpha3) == encoder
    # Below five classes the decoder's ESP has a branch a class, each of one channel.
    narrow = max(1, classes // 5)
    decoder = 292 * classes + 21 * classes**2 + 11 * narrow * classes
    assert count("espnet", classes, alpha3=alpha3) == encoder + decoder
    assert count("espnet", classes, alpha3=alpha3, decoder_channels=19) == encoder + decoder + 27 * classes


def test_espnets_have_no_bias_in_any_convolution() -> None:
    for name in ("espnet-a", "espnet-b", "espnet-c", "espnet"):
        convolutions = [m for m in bare(name, 5).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert convolutions
        assert all(convolution.bias is None for convolution in convolutions)
