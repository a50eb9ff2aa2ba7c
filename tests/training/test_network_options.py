"""The torch-free table of networks says what the registry says."""

from __future__ import annotations

import pytest

from fleetseg.models import build_network, network_entry, network_names
from fleetseg.training.network_options import (
    NETWORK_OPTIONS,
    WITH_ENCODER,
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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("enet", {"decoder_activation": "prelu", "bias": False, "last_kernel_size": 3}),
        ("enet-encoder", {"bias": False}),
        ("espnet-a", {"branches": 10, "alpha2": 0, "alpha3": 1, "act": "relu", "residual": False}),
        ("espnet-b", {"branches": 1, "alpha2": 1, "alpha3": 0}),
        ("espnet-c", {"reduce_kernel_size": 3, "dilated": False, "alpha2": 1, "alpha3": 1}),
        ("espnet", {"branches": 10, "alpha2": 1, "alpha3": 1, "decoder_channels": 19}),
    ],
)
def test_what_is_legal_can_be_built(name: str, options: dict[str, object]) -> None:
    check_network_options(name, options)
    network = build_network(name, 3, **options)
    assert network.registered_name == name


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("espnet", {"alpha4": 1}, r"'espnet' has no option 'alpha4'; it has: branches, alpha2, alpha3, decoder_"),
        ("espnet", {"alpha2": "x"}, r"option alpha2 of 'espnet': .*valid integer \(it is 'x'\)"),
        ("espnet", {"alpha2": -1}, r"option alpha2 of 'espnet': .*greater than or equal to 0 \(it is -1\)"),
        ("espnet", {"alpha2": True}, r"option alpha2 of 'espnet': .*valid integer"),
        ("espnet", {"decoder_channels": 17}, r"option decoder_channels of 'espnet': Input should be 16 or 19"),
        ("enet", {"bias": "no"}, r"option bias of 'enet': .*valid boolean"),
        ("enet", {"decoder_activation": "gelu"}, r"Input should be 'relu' or 'prelu' \(it is 'gelu'\)"),
        ("espnet-c", {"branches": 11}, r"less than or equal to 10"),
    ],
)
def test_what_is_not_legal_is_named(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_network_options(name, options)


def test_unknown_network() -> None:
    with pytest.raises(ValueError, match=r"no network 'enett'; did you mean enet"):
        check_network_name("enett")
