"""The search for float layers: as few as keep the limit, and no file where that leaves nothing in int8."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from fleetseg.quantise.calibration import untold
from fleetseg.quantise.quantiser import Layer
from fleetseg.quantise.search import Attempt, rank, search

LAYERS = [Layer(f"layer{number}", 10) for number in range(20)]
ERRORS = {layer.name: float((7 * number) % 20) for number, layer in enumerate(LAYERS)}


def miou_if_worst_float(needed: int) -> tuple[list[frozenset[str]], object]:
    worst = sorted(ERRORS, key=lambda name: -ERRORS[name])[:needed]
    asked: list[frozenset[str]] = []

    def miou_with(names: Collection[str]) -> float:
        asked.append(frozenset(names))
        return 0.6 + 0.1 * len(set(worst) & set(names)) / max(1, needed)

    return asked, miou_with


def test_ranking_puts_the_worst_first() -> None:
    ranking = rank(LAYERS, lambda name: ERRORS[name], untold)
    assert [one.error for one in ranking] == sorted(ERRORS.values(), reverse=True)
    assert {one.layer for one in ranking} == set(LAYERS)


@pytest.mark.parametrize("needed", [1, 2, 3, 6, 7, 10])
def test_as_few_as_possible(needed: int) -> None:
    asked, miou_with = miou_if_worst_float(needed)
    ranking = rank(LAYERS, lambda name: ERRORS[name], untold)
    known = Attempt(frozenset(), 0.6)
    found = search(ranking, 0, 0.6999, miou_with, (known,))  # type: ignore[arg-type]
    assert found.best is not None
    assert found.best.float_layers == frozenset(one.layer.name for one in ranking[:needed])
    assert found.attempts[0] is known
    assert len(asked) == len(found.attempts) - 1 <= 8
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(("needed", "float_macs"), [(11, 0), (20, 0), (6, 150)])
def test_no_less_than_half_stays_in_int8(needed: int, float_macs: int) -> None:
    """20 layers of 10; with 150 that cannot be quantised, half of 350 is 175: two may be turned back."""
    asked, miou_with = miou_if_worst_float(needed)
    found = search(rank(LAYERS, lambda name: ERRORS[name], untold), float_macs, 0.6999, miou_with)  # type: ignore[arg-type]
    assert found.best is None
    assert max(len(names) for names in asked) == (2 if float_macs else 10)


def test_one_heavy_layer_cannot_be_float() -> None:
    heavy = [Layer("heavy", 1000), Layer("light", 10)]
    found = search(rank(heavy, lambda name: len(name), untold), 0, 1.0, lambda names: 0.0)
    assert found.best is None
    assert found.attempts == ()
