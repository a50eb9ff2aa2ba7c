"""What other people's runtimes say when they fail, in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """At most 200 characters of what an exception says."""
    return " ".join(str(error).split())[:200]
