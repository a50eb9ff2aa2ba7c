"""Packages that only some work needs; each belongs to an extra of the installation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fleetseg.errors import MissingExtraError


def need(module: str, what: str, extra: str = "datasets") -> Any:
    """The module, imported now; `MissingExtraError` with the install line if its package is absent.

    `what` begins the sentence, as "reading SBD's .mat files"; `extra` is what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # the package is there and itself broken
        raise MissingExtraError(f"{what} (package {package})", extra) from None
