"""The torch-free table of networks says what the registry says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetseg.errors import UsageError
from fleetseg.models import build_network, network_entry, network_names
from fleetseg.models.modules import MODULES
from fleetseg.training.network_options import (
    ESP_MODULES,
    NETWORK_OPTIONS,
    WITH_ENCODER,
    WITH_ENCODER_MAP,
    check_network_name,
    check_network_options,
)


def test_same_networks_as_the_registry() -> None:
    assert set(NETWORK_OPTIONS) == set(network_names())


@pytest.mark.parametrize("name", NETWORK_OPTIONS)
def test_same_options_and_defaults_as_the_registry(name: str) -> None:
    assert NETWORK_OPTIONS[name]().model_dump() == network_entry(name).default_options()


def test_same_encoders_as_the_registry() -> None:
    assert set(WITH_ENCODER) == {name for name in network_names() if network_entry(name).encoder is not None}


def test_same_places_for_auxiliary_heads_as_the_networks() -> None:
    with torch.device("meta"):
        networks = {name: build_network(name, 3) for name in network_names()}
    assert set(WITH_ENCODER_MAP) == {name for name, network in networks.items() if network.encoder_map is not None}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("enet", {"decoder_activation": "prelu", "bias": False, "last_kernel_size": 3}),
        ("enet-encoder", {"bias": False}),
        ("espnet-a", {"branches": 10, "alpha2": 0, "alpha3": 1, "act": "relu", "residual": False}),
        ("espnet-b", {"branches": 1, "alpha2": 1, "alpha3": 0}),
        ("espnet-c", {"reduce_kernel_size": 3, "dilated": False, "alpha2": 1, "alpha3": 1}),
        ("espnet", {"branches": 10, "alpha2": 1, "alpha3": 1, "decoder_channels": 19}),
        ("segnet", {"width": 0.125}),
        ("fcn-8s", {"published": True, "width": 0.125}),
        ("deeplab-v2", {"multi_scale": False, "original": True, "width": 0.125}),
        ("pspnet", {"auxiliary": True, "deep_stem": False, "width": 0.125}),
        ("dilation-8", {"context_layers": 7, "large_context": False, "padded": False, "width": 0.125}),
        ("refinenet-101", {"depth": 50, "improved_pooling": True, "original": True, "width": 0.125}),
        ("biopsy-espnet", {"esp": False, "width": 0.125}),
    ],
)
def test_what_is_legal_can_be_built(name: str, options: dict[str, object]) -> None:
    check_network_options(name, options)
    network = build_network(name, 3, **options)
    assert network.registered_name == name


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "espnet",
            {"alpha4": 1},
            r"'espnet' has no option 'alpha4'; it has: branches, act, .*alpha2, alpha3, image_input, decoder_",
        ),
        ("espnet", {"alpha2": "x"}, r"option alpha2 of 'espnet': .*valid integer \(it is 'x'\)"),
        ("espnet", {"alpha2": -1}, r"option alpha2 of 'espnet': .*greater than or equal to 0 \(it is -1\)"),
        ("espnet", {"alpha2": True}, r"option alpha2 of 'espnet': .*valid integer"),
        ("espnet", {"decoder_channels": 17}, r"option decoder_channels of 'espnet': Input should be 16 or 19"),
        ("espnet", {"reduce_kernel_size": True}, r"option reduce_kernel_size of 'espnet': .* int .*\(it is True\)"),
        ("enet", {"bias": "no"}, r"option bias of 'enet': .*valid boolean"),
        ("enet", {"decoder_activation": "gelu"}, r"Input should be 'relu' or 'prelu' \(it is 'gelu'\)"),
        ("espnet-c", {"branches": 11}, r"less than or equal to 10"),
        ("segnet", {"width": 0.0}, r"option width of 'segnet': .*greater than 0"),
        ("dilation-8", {"context_layers": 10}, r"'dilation-8': the large context module has 8 layers, not 10"),
        ("erfnet", {"width": 0.5}, r"'erfnet' has no option 'width'"),
    ],
)
def test_what_is_not_legal_is_named(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_network_options(name, options)


def test_unknown_network() -> None:
    with pytest.raises(ValueError, match=r"no network 'enett'; did you mean enet"):
        check_network_name("enett")


def test_same_modules() -> None:
    assert set(ESP_MODULES) == set(MODULES)


def test_unknown_modules_and_variants() -> None:
    with pytest.raises(
        ValueError, match=r"option module of 'espnet-c': There is no module 'mobil'; did you mean mobile"
    ):
        check_network_options("espnet-c", {"module": "mobil"})
    with pytest.raises(ValueError, match="There is no network 'espnet-c-resnets'; did you mean espnet-c-resnet or"):
        check_network_name("espnet-c-resnets")
    assert check_network_name("espnet-c-resnet") == "espnet-c-resnet"


def test_a_variants_own_options_count() -> None:
    with pytest.raises(ValueError, match="'espnet-c-mobilenet': reduce_kernel_size is ESP's, module 'mobilenet' has"):
        check_network_options("espnet-c-mobilenet", {"reduce_kernel_size": 3})
    check_network_options("espnet-c-mobilenet", {"reduce_kernel_size": 3, "module": "esp"})


#: Values around the border between legal and illegal.
POOL: dict[str, list[Any]] = {
    "bool": [True, False, 1],
    "int": [-1, 0, 1, 2, 3, 5, 11, 16, 19, 32, 101, True],
    "str": [*MODULES, "relu", "prelu", "off", "first", "second", "conv", "joined", "added", "depth", "none", "x", 3],
}


@pytest.mark.parametrize("name", sorted({"enet", "enet-encoder", "espnet-a", "espnet-b", "espnet-c", "espnet"}))
@settings(max_examples=25)
@given(data=st.data())
def test_recipes_and_constructors_take_the_same_options(name: str, data: st.DataObject) -> None:
    defaults = network_entry(name).default_options()
    keys = data.draw(st.lists(st.sampled_from(sorted(defaults)), min_size=1, max_size=2, unique=True))
    options = {key: data.draw(st.sampled_from([defaults[key], *POOL[type(defaults[key]).__name__]])) for key in keys}
    shallow = {key: 1 for key in ("alpha2", "alpha3") if key in defaults}
    results = []
    for check in (check_network_options, lambda name, options: build_network(name, 7, **shallow | options)):
        try:
            with torch.device("meta"):
                check(name, options)
            results.append("legal")
        except (UsageError, ValueError):
            results.append("not legal")
    assert results[0] == results[1], options
