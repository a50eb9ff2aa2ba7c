"""What a search varies: recipe keys with ranges or choices, read from the command line. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetseg.errors import UsageError
from fleetseg.training.recipe_file import load_recipe

_WAYS = "KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C"


@dataclass(frozen=True)
class SearchKey:
    """A dotted key of the recipe and the values that it may take."""

    key: str
    #: Values to choose from, as they would stand in --set; empty for a range.
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    #: Whether values are spread evenly over their logarithm.
    logarithmic: bool = False
    #: Whether only whole numbers are taken.
    whole: bool = False

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that show whether the recipe takes this key: all choices, or both ends of the range."""
        return self.choices or (self.setting(self.low), self.setting(self.high))

    def setting(self, value: Any) -> str:
        """`value` as it stands in --set."""
        if isinstance(value, str):
            return value
        return str(round(value)) if self.whole else f"{value:.6g}"


def parse_key(text: str) -> SearchKey:
    """``stages.network.optimiser.learning_rate=1e-4:1e-2:log``; `UsageError` says how else it would be written."""
    key, equals, values = (part.strip() for part in text.partition("="))
    if not key or not equals or not values:
        raise UsageError(f"--key {text}: write {_WAYS}")
    if ":" not in values:
        choices = tuple(part.strip() for part in re.split(r",(?![^\[]*\])", values))  # not those inside a list
        if len(set(choices)) < 2 or not all(choices):
            raise UsageError(f"--key {text}: at least two different choices are needed, or a range; write {_WAYS}")
        return SearchKey(key, choices)
    ends = values.split(":")
    logarithmic = ends[-1] == "log"
    if logarithmic:
        ends.pop()
    try:
        low, high = (float(end) for end in ends)
    except ValueError:
        raise UsageError(f"--key {text}: '{values}' is no range of numbers; write {_WAYS}") from None
    if not low < high or (logarithmic and low <= 0):
        rule = "LOW must be below HIGH" + (" and, with log, above 0" if logarithmic else "")
        raise UsageError(f"--key {text}: {rule}")
    whole = all(re.fullmatch(r"\s*[+-]?\d+\s*", end) for end in ends)
    return SearchKey(key, (), low, high, logarithmic, whole)


def read_keys(
    recipe: str, settings: Sequence[str], texts: Sequence[str], network: str | None = None
) -> list[SearchKey]:
    """All keys, checked against the recipe with `network` in it; `UsageError` or `RecipeError` names a wrong one."""
    if not texts:
        raise UsageError(f"nothing to search: give at least one --key, written {_WAYS}")
    keys = [parse_key(text) for text in texts]
    names = [key.key for key in keys]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"--key {twice} is given twice")
    for key in keys:
        for end in key.ends:
            load_recipe(recipe, [*settings, f"{key.key}={end}"], network=network)
    return keys
