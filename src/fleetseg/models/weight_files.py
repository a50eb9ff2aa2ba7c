"""Tables of weights out of other people's files: `.safetensors`, and `.pth` without running what is inside."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fleetseg.errors import CheckpointError, UsageError


def read_weights(path: str | Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a file of either kind; `expected` says in errors what should have been given.

    Raises `UsageError` if there is no such file, `CheckpointError` if it is broken or holds anything but weights.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        return read_pickle(path, expected)
    check_there(path)
    try:
        return without_wrapping(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({error})") from error


def check_there(path: Path) -> None:
    """`UsageError` if there is no such file, or a folder in its place."""
    if not path.is_file():
        raise UsageError(
            f"{path}: is a folder, not a file of weights" if path.is_dir() else f"{path}: no such checkpoint file"
        )


def read_pickle(path: str | Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a `.pth` file, read with ``weights_only=True`` so that a hostile one cannot run code."""
    path = Path(path)
    check_there(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file makes the unpickler raise
        raise CheckpointError(f"{path}: {_why_unreadable(error)}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(map(_is_weight, content.values())):
        raise CheckpointError(f"{path}: holds no table of weights; expected {expected}")
    return without_wrapping({str(key): value for key, value in content.items()})


def without_wrapping(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the ``module.`` that DataParallel puts before all of them."""
    if tensors and all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"


def _why_unreadable(error: Exception) -> str:
    foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
    if foreign:
        return f"holds {foreign[1]} besides weights; a file that could run code is never loaded"
    return "is no complete file of PyTorch weights (truncated, damaged or of another kind)"
