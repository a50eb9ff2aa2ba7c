"""Which options of ``fleetseg predict`` belong to which kind of input."""

from __future__ import annotations

from collections.abc import Mapping

from fleetseg.errors import UsageError


def refuse_others(given: Mapping[str, Mapping[str, bool]], kind: str) -> None:
    """`UsageError` for the first option that was given and belongs to another kind of input than `kind`.

    `given`: kind → option → whether it was given. An option may belong to several kinds.
    """
    allowed = given[kind]
    for other, options in given.items():
        for option, is_given in options.items():
            if is_given and option not in allowed:
                raise UsageError(f"{option}: goes with {other}, not with {kind}")
