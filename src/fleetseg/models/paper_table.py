"""The papers' sizes beside ours: each number counted from the network or module that is built for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import torch

from fleetseg.models._registry import build_network, network_names
from fleetseg.models.base import SegmentationNetwork, count_parameters
from fleetseg.models.esp import ESP
from fleetseg.models.module_cost import convolution_memory, convolution_weights, gradient_field
from fleetseg.models.module_formulas import FIGURE_3G
from fleetseg.models.modules import build_module
from fleetseg.models.paper_flops import paper_flops
from fleetseg.models.paper_rows import PAPER_ROWS, PaperRow
from fleetseg.variants import resolved


@dataclass(frozen=True)
class Comparison:
    """A printed number and ours, in the same unit."""

    row: PaperRow
    ours: float

    @property
    def paper(self) -> float:
        """The printed number."""
        return float(self.row.printed.replace(",", ""))

    @property
    def agrees(self) -> bool:
        """Whether ours, cut or rounded to the printed digits, is what is printed (the papers do either)."""
        printed = Decimal(self.row.printed.replace(",", ""))
        exact = Decimal(repr(self.ours))
        return printed in (exact.quantize(printed, ROUND_DOWN), exact.quantize(printed, ROUND_HALF_UP))

    def as_json(self) -> dict[str, Any]:
        """The object that ``fleetseg models --paper --json`` prints."""
        return {
            "where": self.row.where,
            "row": self.row.row,
            "quantity": self.row.quantity,
            "paper": self.paper,
            "ours": self.ours,
            "difference": self.ours - self.paper,
            "agrees": self.agrees,
            "note": "" if self.agrees else self.row.note,
            "network": self.row.network,
            "module": self.row.module,
            "classes": self.row.classes if self.row.network else None,
            "options": self.row.options,
        }


def rows_of_ours() -> tuple[PaperRow, ...]:
    """The rows whose networks are registered, in the papers' order."""
    return tuple(row for row in PAPER_ROWS if _is_there(row))


def compared(row: PaperRow) -> Comparison:
    """A printed number beside the one counted anew."""
    return Comparison(row, _counted(row))


def _is_there(row: PaperRow) -> bool:
    return row.network is None or resolved(row.network, {})[0] in network_names()


def _counted(row: PaperRow) -> float:
    if row.module is not None:
        return _of_module(row.module, row.quantity)
    assert row.network is not None
    network = _built(row.network, row.classes, json.dumps(row.options))
    return _of_network(network, row.quantity)


def _of_network(network: SegmentationNetwork, quantity: str) -> float:
    if quantity == "GFLOPs":
        return paper_flops(network, 640, 360) / 1e9
    if quantity == "field":
        esp = next(part for part in network.modules() if isinstance(part, ESP) and part.residual)
        return gradient_field(esp, esp.reduce.in_channels, _at_most(len(esp.branches)))
    parameters = count_parameters(network)
    return {"parameters": parameters / 1e6, "MB": 4 * parameters / 1e6, "fp16 MB": 2 * parameters / 2**20}[quantity]


def _of_module(name: str, quantity: str) -> float:
    sizes = FIGURE_3G
    channels = sizes.in_channels
    module = build_module(
        name,
        channels,
        sizes.out_channels,
        branches=sizes.branches,
        groups=sizes.groups,
        width_divider=sizes.width_divider,
    )
    if quantity == "parameters":
        return convolution_weights(module)
    if quantity == "memory":
        return convolution_memory(module, channels, sizes.width, sizes.height) / 2**20
    return gradient_field(module, channels, _at_most(sizes.branches))


def _at_most(branches: int) -> int:
    """A side that holds the field of every module with so many branches, whichever it is."""
    return (1 << max(branches, 2)) + 1


@cache
def _built(name: str, classes: int, options: str) -> SegmentationNetwork:
    """Without memory for weights: some have more than a hundred million."""
    with torch.device("meta"):
        return build_network(name, classes, **json.loads(options)).eval()
