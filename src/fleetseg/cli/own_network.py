"""``--network FILE.py:CLASS``: a network in a file of the user's own, for commands that rebuild one from weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Annotated

import typer

from fleetseg.errors import MissingExtraError, UsageError
from fleetseg.variants import is_users

NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="FILE.py:CLASS",
        help="The network of your own that the weights are of; see docs/custom-networks.md.",
    ),
]


def use_network(word: str | None) -> str | None:
    """Run the file that --network names; returns the network's name in files of weights.

    `UsageError` for a word that is no FILE.py:CLASS or a file that has no such network, `MissingExtraError` without
    torch.
    """
    if word is None:
        return None
    if not is_users(word):
        raise UsageError(f"--network {word}: FILE.py:CLASS is needed; of any other network the weights say which it is")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("a network in a file of your own", "train")
    from fleetseg.models import register_network

    return register_network(word)


def use_network_of(model: str, word: str | None) -> None:
    """`use_network` for a command whose work reads MODEL; `UsageError` unless MODEL holds weights of that network."""
    asked = use_network(word)
    if asked is not None:
        from fleetseg.compilation import read_network

        check_network(asked, {model: read_network(model)[1].network.name})


def check_network(asked: str | None, found: Mapping[str, str]) -> None:
    """`UsageError` if --network asked for a network that no MODEL is one of; `found` is MODEL → its network's name."""
    if asked is not None and asked not in found.values():
        model, network = next(iter(found.items()))
        raise UsageError(f"{model}: holds weights of the network '{network}', not of --network {asked}")
