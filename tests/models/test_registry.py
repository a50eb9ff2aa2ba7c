"""The list of networks: names, options, and one sentence for every wrong call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.models import build_encoder, build_network, network_entry, network_names
from fleetseg.variants import VARIANTS


def test_names() -> None:
    assert network_names()[:6] == ("enet", "enet-encoder", "espnet-a", "espnet-b", "espnet-c", "espnet")
    assert set(network_names()[6:]) == {
        "segnet", "segnet-basic", "erfnet", "erfnet-encoder", "sqnet", "fcn-8s", "deeplab-v2", "pspnet",
        "dilation-8", "refinenet-101", "lrr-4x", "biopsy-mehta", "biopsy-resnet18", "biopsy-espnet",
    }  # fmt: skip


@pytest.mark.parametrize("name", network_names())
def test_default_options_build_the_default_network(name: str) -> None:
    with torch.device("meta"):
        plain = build_network(name, 7)
        explicit = build_network(name, 7, **network_entry(name).default_options())
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (plain, explicit)]
    assert shapes[0] == shapes[1]
    assert (plain.registered_name, plain.options, plain.num_classes, plain.in_channels) == (name, {}, 7, 3)
    assert explicit.options == network_entry(name).default_options()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("enet", {"num_classes": 1}, "num_classes is 1; a network of 2 to 255 classes can be built"),
        ("enet", {"num_classes": 256}, "num_classes is 256; a network of 2 to 255 classes can be built"),
        ("enet", {"in_channels": 0}, "in_channels is 0; at least 1 is needed"),
        (
            "enet",
            {"alpha3": 3},
            "network 'enet' has no option 'alpha3'; it has: decoder_activation, last_kernel_size, unpooling, bias, "
            "encoder_activation, dilated, asymmetric, initial_maps, pre_activation, down_kernel_size, regularisation",
        ),
        ("enet", {"bias": 1}, "network 'enet': bias is 1; a value of type bool is needed"),
        (
            "enet",
            {"decoder_activation": "gelu"},
            "network 'enet': activation 'gelu' is not known; use 'prelu' or 'relu'",
        ),
        ("enet", {"last_kernel_size": 4}, "network 'enet': last_kernel_size is 4; use 2 or 3"),
        ("espnet", {"alpha3": "8"}, "network 'espnet': alpha3 is '8'; a value of type int is needed"),
        ("espnet", {"alpha2": -1}, "network 'espnet': alpha2 and alpha3 are from 0 to 100, not -1"),
        ("espnet", {"alpha3": 10**9}, "network 'espnet': alpha2 and alpha3 are from 0 to 100, not 1000000000"),
        ("espnet", {"decoder_channels": 18}, "network 'espnet': decoder_channels is 18; use 16 or 19"),
        (
            "espnet-a",
            {"branches": 0},
            "network 'espnet-a': an ESP module of 64 channels has 1 to 10 branches, not 0",
        ),
        (
            "espnet-c",
            {"branches": 64},
            "network 'espnet-c': an ESP module of 64 channels has 1 to 10 branches, not 64",
        ),
        ("espnet-c", {"reduce_kernel_size": 2}, "network 'espnet-c': reduce_kernel_size is 2; use 1 or 3"),
        (
            "espnet-c",
            {"module": "mobilnet"},
            "There is no module 'mobilnet'; did you mean mobilenet or inception or shufflenet?",
        ),
        (
            "espnet-c-mobilenet",
            {"reduce_kernel_size": 3},
            "network 'espnet-c': reduce_kernel_size is 3, but module 'mobilenet' has no ESP's reduce; use 1",
        ),
        (
            "espnet-c-resnet",
            {"branches": 4},
            "network 'espnet-c': branches is 4, but module 'resnet' has none; leave it at 5",
        ),
        ("espnet", {"fusion": "third"}, "network 'espnet': fusion is 'third'; use one of off, first, second"),
        ("espnet-a", {"downsampling": "pool"}, "network 'espnet-a': downsampling is 'pool'; use 'esp' or 'conv'"),
        ("espnet-c", {"image_input": "none"}, "network 'espnet-c': image_input is 'none'; use 'joined' or 'added'"),
        (
            "espnet",
            {"image_input": "added", "decoder_channels": 19},
            "network 'espnet': decoder_channels is 19; use 16",
        ),
        ("enet", {"unpooling": "nearest"}, "network 'enet': unpooling is 'nearest'; use 'indices' or 'bilinear'"),
        ("enet", {"initial_maps": 64}, "network 'enet': initial_maps is 64; use 16 or 32"),
        ("enet", {"down_kernel_size": 3}, "network 'enet': down_kernel_size is 3; use 1 or 2"),
        (
            "enet-encoder",
            {"regularisation": "l2"},
            "network 'enet-encoder': regularisation is 'l2'; use one of dropout, depth, none",
        ),
    ],
)
def test_wrong_calls(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_network(name, **{"num_classes": 5, **arguments})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_their_networks_with_other_options(name: str) -> None:
    variant = VARIANTS[name]
    with torch.device("meta"):
        network = build_network(name, 5)
        other = build_network(variant.network, 5, **variant.options)
    assert (network.registered_name, dict(network.options)) == (variant.network, dict(variant.options))
    assert network_entry(name) is network_entry(variant.network)
    assert {key: value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in other.state_dict().items()
    }
    defaults = network_entry(name).default_options()
    assert any(defaults[key] != value for key, value in variant.options.items())


def test_given_options_win_over_a_variants() -> None:
    network = build_network("espnet-c-alpha8", 5, alpha3=1, act="relu")
    assert network.options == {"alpha3": 1, "act": "relu"}


def test_unknown_names_offer_variants_too() -> None:
    with pytest.raises(UnknownNameError, match="no network 'espnet-c-mobilnet'; did you mean espnet-c-mobilenet or"):
        build_network("espnet-c-mobilnet", 5)


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"^There is no network 'espnet_c'; did you mean espnet-c or"):
        build_network("espnet_c", 5)


@pytest.mark.parametrize(
    ("name", "options", "encoder_name", "encoder_options"),
    [
        ("enet", {"bias": False, "decoder_activation": "prelu"}, "enet-encoder", {"bias": False}),
        ("espnet", {}, "espnet-c", {"branches": 5, "alpha2": 2, "alpha3": 8}),
        ("espnet", {"alpha3": 3, "decoder_channels": 20}, "espnet-c", {"branches": 5, "alpha2": 2, "alpha3": 3}),
    ],
)
def test_encoder_of_stage_1(
    name: str, options: dict[str, Any], encoder_name: str, encoder_options: dict[str, Any]
) -> None:
    network = build_network(name, 6, 4, **options)
    encoder = build_encoder(network)
    assert encoder.registered_name == encoder_name
    assert {**network_entry(encoder_name).default_options(), **encoder.options} == {
        **network_entry(encoder_name).default_options(),
        **encoder_options,
    }
    assert (encoder.num_classes, encoder.in_channels, encoder.output_stride) == (6, 4, 8)


@pytest.mark.parametrize("name", ["enet", "espnet"])
def test_stage_2_takes_over_the_encoder(name: str, random_network: Any) -> None:
    network = random_network(name, 6, seed=1)
    encoder = build_encoder(random_network(name, 6, seed=2))
    network.load_encoder(encoder)
    image = torch.randn(1, 3, 16, 24)
    inner = network.eval().encoder
    with torch.no_grad():
        if name == "enet":
            torch.testing.assert_close(inner(image)[0], encoder.eval().encoder(image)[0], rtol=0, atol=0)
        else:
            torch.testing.assert_close(inner(image), encoder.eval()(image), rtol=0, atol=0)


def test_networks_without_a_separate_encoder() -> None:
    with pytest.raises(UsageError, match="network 'espnet-b' has no separate encoder to train first"):
        build_encoder(build_network("espnet-b", 5))
    for name in ("enet", "espnet", "espnet-b"):
        with pytest.raises(TypeError, match="has no separate encoder to load ESPNetA into"):
            build_network(name, 5).load_encoder(build_network("espnet-a", 5))
