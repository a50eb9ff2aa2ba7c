"""PReLU slopes by depth, as ENet's Fig. 3 shows them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fleetseg.report.charts import Chart, Line


@dataclass(frozen=True)
class Slopes:
    """The slopes of one PReLU for negative inputs."""

    #: Of the module in the network, such as encoder.stage1.0.act.
    name: str
    lowest: float
    mean: float
    highest: float

    @property
    def ends_block(self) -> bool:
        """Whether it stands in the main branch: behind a block's sum, not inside its extension."""
        return ".extension." not in self.name

    @property
    def in_encoder(self) -> bool:
        """Whether it belongs to the encoder; a network that is one has no module of that name."""
        return self.name.startswith("encoder.")


def slopes_by_depth(network: torch.nn.Module) -> list[Slopes]:
    """One entry a PReLU, in the order of the network's modules; empty for a network without any."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.PReLU):
            weight = module.weight.detach()
            found.append(Slopes(name, float(weight.min()), float(weight.mean()), float(weight.max())))
    return found


def slopes_chart(slopes: list[Slopes]) -> Chart:
    """Mean as a line, lowest to highest as a band, a dotted mark behind each block, the encoder's end named."""
    numbered = list(enumerate(slopes, start=1))
    notes = [f"{one.name}: mean {one.mean:.3f}, {one.lowest:.3f} to {one.highest:.3f}" for one in slopes]
    marks = [(float(number), "") for number, one in numbered if one.ends_block and ".extension." in str(slopes)]
    inside = [number for number, one in numbered if one.in_encoder]
    if inside and len(inside) < len(slopes):
        marks.append((inside[-1] + 0.5, "decoder"))
    return Chart(
        title="PReLU slopes: mean, and lowest to highest",
        x_label="PReLU, from image to logits",
        lines=[Line([(float(number), one.mean) for number, one in numbered], "#2563eb", notes)],
        band=[(float(number), one.lowest, one.highest) for number, one in numbered],
        marks=marks,
        reach=(0.0,),
    )
