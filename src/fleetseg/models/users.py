"""Networks of users' own: ``my_net.py:MyNet`` names a class in a file; docs/custom-networks.md says how to write one.

Files of weights name the class but never bring it: code runs only from a file that the user named, by `--network`, in a
recipe or to `register_network`.
"""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.models.base import SegmentationNetwork
from fleetseg.variants import is_users, short_name

#: Short name (my_net.py:MyNet) → class.
_CLASSES: dict[str, type[nn.Module]] = {}


def register_network(word: str) -> str:
    """Run the user's file and remember the class; returns the name that `build_network` and files of weights use.

    `word` is FILE.py:CLASS. Raises `UsageError` if there is no such file, if it fails, or if its class is no network,
    and `UnknownNameError` (with the nearest names) if it has no such class.
    """
    path_text, _, class_name = word.rpartition(":")
    path = Path(path_text)
    if not is_users(word) or path.suffix != ".py" or not class_name:
        raise UsageError(f"network '{word}': write FILE.py:CLASS, such as my_net.py:MyNet")
    if not path.is_file():
        raise UsageError(f"network '{word}': there is no file {path}")
    found = vars(_executed(path))
    classes = {name: value for name, value in found.items() if isinstance(value, type) and issubclass(value, nn.Module)}
    if class_name in found and class_name not in classes:
        raise UsageError(f"network '{word}': {class_name} is no torch.nn.Module")
    if class_name not in classes:
        own = [name for name, value in classes.items() if value.__module__ == _module_name(path)]
        raise UnknownNameError(f"network in {path} called", class_name, own)
    name = short_name(word)
    _CLASSES[name] = classes[class_name]
    user_options(name)
    return name


def _module_name(path: Path) -> str:
    return f"fleetseg_user_{path.stem}"


def _executed(path: Path) -> ModuleType:
    """The file as a module; it may import its neighbours, as a script may."""
    module = ModuleType(_module_name(path))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        # Not by an importer, which would leave a cached copy beside the file and may take an old one.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{path}: cannot be run: {_sentence(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"[:300]


def _class(name: str) -> type[nn.Module]:
    if short_name(name) not in _CLASSES:
        raise UsageError(
            f"'{name}' is a network in a file of its user; add --network with the file's path, such as "
            f"--network {name if '/' in name else 'FOLDER/' + name}"
        )
    return _CLASSES[short_name(name)]


def user_options(name: str) -> dict[str, Any]:
    """Options of a registered class and their defaults: the parameters of its constructor beyond the counts.

    `UsageError` if the class takes no `num_classes`, or has a parameter without default.
    """
    parameters = dict(inspect.signature(_class(name)).parameters)
    if "num_classes" not in parameters:
        raise UsageError(f"network '{name}': its constructor takes no num_classes; write __init__(self, num_classes)")
    options = {}
    for key, parameter in parameters.items():
        if key in ("num_classes", "in_channels") or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        if parameter.default is parameter.empty:
            raise UsageError(f"network '{name}': its constructor's parameter {key} needs a default value")
        options[key] = parameter.default
    return options


def build_user_network(name: str, num_classes: int, in_channels: int, **options: Any) -> SegmentationNetwork:
    """An instance of a registered class, wrapped unless it is a `SegmentationNetwork` itself.

    `UsageError` if it cannot be made, or does not give logits.
    """
    cls = _class(name)
    arguments: dict[str, Any] = {"num_classes": num_classes, **options}
    if "in_channels" in inspect.signature(cls).parameters:
        arguments["in_channels"] = in_channels
    elif in_channels != 3:
        raise UsageError(
            f"network '{name}' takes no in_channels, so it has 3, not {in_channels}; give its constructor the parameter"
        )
    try:
        module = cls(**arguments)
    except Exception as error:
        raise UsageError(f"network '{name}' cannot be built: {_sentence(error)}") from error
    if isinstance(module, SegmentationNetwork):
        return module
    return UserNetwork(name, module, num_classes, in_channels)


class UserNetwork(SegmentationNetwork):
    """A user's module, padded to a multiple of its attribute `size_multiple` (default 8)."""

    def __init__(self, name: str, module: nn.Module, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels)
        self.size_multiple = _size_multiple(name, module)
        self.module = module
        self.output_stride = _output_stride(name, module, (1, in_channels, *_tried(self.size_multiple)), num_classes)
        self.size_multiple = math.lcm(self.size_multiple, self.output_stride)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/s, W/s)."""
        logits: Tensor = self.module(image)
        return logits


def _size_multiple(name: str, module: nn.Module) -> int:
    """The module's own attribute of that name; `UsageError` if it is no positive number."""
    multiple = getattr(module, "size_multiple", SegmentationNetwork.size_multiple)
    if type(multiple) is not int or multiple < 1:
        raise UsageError(f"network '{name}': its size_multiple is {multiple!r}; a whole number from 1 is needed")
    return multiple


def _tried(multiple: int) -> tuple[int, int]:
    """Height and width of an image that any network should take: unequal, and multiples of 8 too."""
    step = math.lcm(multiple, 8)
    height = -(-64 // step) * step
    return height, 2 * height


def _output_stride(name: str, module: nn.Module, shape: tuple[int, ...], num_classes: int) -> int:
    """1 or 8, from a run on an empty image; `UsageError` says which shape is needed."""
    height, width = shape[2:]
    was_training = module.training
    first = next(module.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            logits = module.eval()(torch.zeros(shape, device=first.device))
    except Exception as error:
        raise UsageError(f"network '{name}' fails on an image of {width}×{height}: {_sentence(error)}") from error
    finally:
        module.train(was_training)
    strides: dict[object, int] = {(1, num_classes, height // s, width // s): s for s in (1, 8)}
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found not in strides:
        raise UsageError(
            f"network '{name}' gives {found} for an image of {width}×{height}; logits of shape "
            f"{' or '.join(str(wanted) for wanted in strides)} are needed"
        )
    return strides[found]
