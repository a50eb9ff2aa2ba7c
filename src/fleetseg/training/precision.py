"""Which floating-point type training computes in."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch

from fleetseg.training.recipe import Recipe


@dataclass(frozen=True)
class Precision:
    """What the forward and backward pass compute in."""

    bf16: bool
    compile: bool


def choose_precision(recipe: Recipe) -> Precision:
    """bf16 where the recipe wants it, or leaves it open and the processor multiplies it natively.

    bf16 on a processor without it works, slowly: that is said on stderr.
    """
    native = bf16_is_native()
    if recipe.precision == "bf16" and not native:
        print(
            "fleetseg: this processor has no bf16 arithmetic, so precision: bf16 is emulated and slow; "
            "precision: auto would take fp32",
            file=sys.stderr,
        )
    bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and native)
    return Precision(bf16=bf16, compile=recipe.compile)


def bf16_is_native() -> bool:
    """Whether this processor or GPU multiplies bf16 natively."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # PyTorch offers no public question for this; without an answer fp32 is the safe choice.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported()) if supported is not None else False
