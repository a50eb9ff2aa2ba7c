"""Keeping parts of a network as they are, by patterns of parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from fleetseg.errors import RecipeError
from fleetseg.models.base import SegmentationNetwork


def freeze(network: SegmentationNetwork, patterns: Sequence[str], stage: str) -> frozenset[str]:
    """Take the parameters that match from training; returns the names of BatchNorms whose statistics stay too.

    Patterns are the shell's: * and ? and [abc]. `RecipeError` for one that matches no parameter, and if all match.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            tops = dict.fromkeys(f"{name.split('.')[0]}.*" for name in parameters)
            raise RecipeError(
                f"stages.{stage}.freeze: '{pattern}' matches no parameter of {type(network).__name__}; "
                f"patterns such as {', '.join(tops)} do"
            )
        for name in found:
            parameters[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in parameters.values()):
        raise RecipeError(f"stages.{stage}.freeze: {list(patterns)} match every parameter; nothing is left to train")
    return frozenset(
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.weight is not None and not module.weight.requires_grad
    )
