"""What the search for float layers sees of a format."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product, which may be computed with 8-bit integers."""

    #: As the runtime's graph has it.
    name: str
    #: Multiply-adds for one image.
    macs: int


class Quantiser(Protocol):
    """A network of one format, calibrated once."""

    @property
    def layers(self) -> Sequence[Layer]:
        """Those that can be quantised, in the graph's order."""
        ...

    @property
    def float_macs(self) -> int:
        """Multiply-adds of layers that the format cannot quantise."""
        ...

    def write(self, path: Path, float_layers: Collection[str]) -> None:
        """Write the file with all layers but `float_layers` in int8."""
        ...

    def write_alone(self, path: Path, layer: str) -> None:
        """Write the file with one layer in int8 and everything else in float32: what the layer alone changes."""
        ...

    def integer_layers(self, path: Path) -> frozenset[str]:
        """Of a written file, the layers that the runtime computes with integers on this machine."""
        ...
