"""The order of turns."""

from __future__ import annotations

from collections import Counter

import pytest

from fleetseg.benchmark.rounds import turns


def test_each_round_starts_with_the_next_engine() -> None:
    order = [(turn.round, turn.engine) for turn in turns(3, 8, rounds=4)]
    assert order == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 0), (2, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


@pytest.mark.parametrize(("engines", "trials"), [(1, 1), (3, 7), (2, 10), (4, 203)])
def test_every_engine_gets_all_its_trials(engines: int, trials: int) -> None:
    plan = turns(engines, trials)
    counted: Counter[int] = Counter()
    for turn in plan:
        counted[turn.engine] += turn.trials
    assert counted == dict.fromkeys(range(engines), trials)
    assert max(turn.trials for turn in plan) - min(turn.trials for turn in plan) <= 1
    assert min(turn.trials for turn in plan) >= 1
