"""Running networks: `load` finds one, `Model` turns images into masks. Importing it costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetseg.runtime.engine import Engine
    from fleetseg.runtime.loading import ENGINES, load, packaged_models
    from fleetseg.runtime.model import Model

#: Public name → module that defines it; resolved on first use.
_LAZY = {
    "ENGINES": "fleetseg.runtime.loading",
    "Engine": "fleetseg.runtime.engine",
    "Model": "fleetseg.runtime.model",
    "load": "fleetseg.runtime.loading",
    "packaged_models": "fleetseg.runtime.loading",
}

__all__ = ["ENGINES", "Engine", "Model", "load", "packaged_models"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fleetseg.runtime' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
