"""Whose turn it is: rounds in which every engine runs some trials, each round starting with another engine."""

from __future__ import annotations

from dataclasses import dataclass

#: Rounds of a comparison, if there are as many trials.
ROUNDS = 10


@dataclass(frozen=True)
class Turn:
    """`trials` of engine number `engine` in round `round`."""

    round: int
    engine: int
    trials: int


def turns(engines: int, trials: int, rounds: int = ROUNDS) -> list[Turn]:
    """All turns in order; over the rounds every engine gets `trials`, as equally divided as possible.

    What slows the machine for a while so hits every engine alike, and nobody always follows the same neighbour's heat.
    """
    rounds = min(rounds, trials)
    few, extra = divmod(trials, rounds)
    return [
        Turn(number, (number + position) % engines, few + (number < extra))
        for number in range(rounds)
        for position in range(engines)
    ]
