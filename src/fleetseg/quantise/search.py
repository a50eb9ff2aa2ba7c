"""Which layers must stay float so that the loss of accuracy stays below a limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from fleetseg.quantise.calibration import Track
from fleetseg.quantise.quantiser import Layer

#: With fewer multiply-adds in int8 than this share, int8 gains nothing.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Sensitivity:
    """What one layer in int8, everything else in float32, does to the logits."""

    layer: Layer
    #: Mean square of the logits' change, in parts of their mean square.
    error: float


@dataclass(frozen=True)
class Attempt:
    """One choice of float layers, measured."""

    float_layers: frozenset[str]
    miou: float


@dataclass(frozen=True)
class Found:
    """What the search ended with."""

    #: None: no choice keeps the limit.
    best: Attempt | None
    #: In the order in which they were measured.
    attempts: tuple[Attempt, ...]


def rank(
    layers: Sequence[Layer], error_of: Callable[[str], float], track: Track, what: str = "Measuring each layer"
) -> tuple[Sensitivity, ...]:
    """All layers, the worst first."""
    found = [Sensitivity(layer, error_of(layer.name)) for layer in track(layers, what)]
    return tuple(sorted(found, key=lambda one: -one.error))


def search(
    ranking: Sequence[Sensitivity],
    float_macs: int,
    least_miou: float,
    miou_with: Callable[[Collection[str]], float],
    known: Sequence[Attempt] = (),
) -> Found:
    """As few of the worst layers as possible are turned back to float until mIoU is at least `least_miou`.

    Their number is doubled, then halved towards the least that does. Turning back ends where fewer than half of the
    multiply-adds would be left in int8. `known` attempts, of no float layer, are not measured again.
    """
    attempts = list(known)
    most = _most(ranking, float_macs)

    def keeps(count: int) -> bool:
        names = frozenset(one.layer.name for one in ranking[:count])
        attempts.append(Attempt(names, miou_with(names)))
        return attempts[-1].miou >= least_miou

    failed, count = 0, 1
    while count <= most and not keeps(count):
        failed, count = count, 2 * count if 2 * count <= most or count == most else most
    if count > most:
        return Found(None, tuple(attempts))
    while count - failed > 1:
        middle = (count + failed) // 2
        if keeps(middle):
            count = middle
        else:
            failed = middle
    kept = (one for one in attempts if one.miou >= least_miou)
    return Found(min(kept, key=lambda one: len(one.float_layers)), tuple(attempts))


def _most(ranking: Sequence[Sensitivity], float_macs: int) -> int:
    """How many of the worst layers may be float."""
    total = float_macs + sum(one.layer.macs for one in ranking)
    left, count = total - float_macs, 0
    for one in ranking:
        left -= one.layer.macs
        if left < LEAST_SHARE * total:
            break
        count += 1
    return count
