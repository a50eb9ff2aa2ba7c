"""fleetseg: real-time semantic segmentation on modest hardware.

Its use in Python::

    import fleetseg

    model = fleetseg.load("enet-camvid")   # packaged name, checkpoint, published weights or ONNX file
    mask = model(image)                    # (H, W, 3) uint8 RGB → (H, W) uint8 class ids
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetseg.compilation import compile
    from fleetseg.errors import FleetsegError
    from fleetseg.runtime import Model, load, packaged_models

__version__ = "0.1.0"

#: Public name → module that defines it; resolved on first use so that importing the package costs nothing.
_LAZY = {
    "FleetsegError": "fleetseg.errors",
    "Model": "fleetseg.runtime",
    "compile": "fleetseg.compilation",
    "load": "fleetseg.runtime",
    "packaged_models": "fleetseg.runtime",
}

__all__ = ["FleetsegError", "Model", "__version__", "compile", "load", "packaged_models"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fleetseg' has no attribute '{name}'")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))
