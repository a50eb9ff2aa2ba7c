"""Which channels can only go together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.compiler.capture import capture
from fleetseg.compiler.channels.wiring import Wiring
from fleetseg.compiler.passes.find_unpooling import find_unpooling
from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2


class Wired(nn.Module):
    """A sum, a concatenation with empty channels behind, a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.third, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        added = self.first(x) + F.relu(self.second(x))
        joined = torch.cat((added, self.third(x)), dim=1)
        return self.last(joined[:, 1:])


def uses(module: nn.Module, size: tuple[int, int] = (8, 8)) -> dict[tuple[str, int], list[int]]:
    """(weight, axis) → the groups of its entries."""
    wiring = Wiring(find_unpooling(capture(module.eval(), size, 3)))
    return {(use.constant, use.axis): wiring.groups(use.ids).tolist() for use in wiring.uses}


def test_sums_slices_and_concatenations() -> None:
    found = uses(Wired())
    assert found["p_first_weight", 0] == found["p_second_weight", 0] == found["p_first_bias", 0]
    assert found["p_last_weight", 1] == found["p_first_weight", 0][1:] + found["p_third_weight", 0]
    assert len(set(found["p_first_weight", 0]) | set(found["p_third_weight", 0])) == 6


def test_the_image_and_the_logits_are_fixed() -> None:
    wiring = Wiring(capture(Wired().eval(), (8, 8), 3))
    groups = {(use.constant, use.axis): set(wiring.groups(use.ids).tolist()) for use in wiring.uses}
    assert wiring.fixed() == groups["p_first_weight", 1] | groups["p_last_weight", 0]


class Unpooled(nn.Module):
    """Un-pooling of channels that are made apart from those whose places it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.inner, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.pool, self.unpool = MaxPool2x2(), MaxUnpool2x2()

    def forward(self, x: Tensor) -> Tensor:
        pooled, place = self.pool(self.before(x))
        result: Tensor = self.last(self.unpool(self.inner(pooled), place))
        return result


def test_places_of_maxima_tie_the_decoder_to_the_encoder() -> None:
    found = uses(Unpooled())
    assert found["p_before_weight", 0] == found["p_inner_weight", 0] == found["p_last_weight", 1]


class Shuffled(nn.Module):
    """Depth-to-space: four channels become one; and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(F.pixel_shuffle(self.twice(self.twice(self.first(x))), 2))
        return result


def test_what_moves_channels_about() -> None:
    found = uses(Shuffled())
    made = found["p_twice_weight", 0]
    assert made == found["p_twice_weight", 1] == found["p_first_weight", 0]
    assert made[:4] == [made[0]] * 4 and made[4:] == [made[4]] * 4 and made[0] != made[4]
    assert found["p_last_weight", 1] == [made[0], made[4]]
