"""How many threads an engine gets."""

from __future__ import annotations

import os

from fleetseg.errors import UsageError

#: More than any machine has; runtimes that are asked for far more hang or abort while they start them.
MOST_THREADS = 1024


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """`threads`, or one for every processor we may use; `UsageError` below 1 and above `MOST_THREADS`."""
    if threads is None:
        return processors()
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads is {threads}; 1 to {MOST_THREADS} are possible")
    return threads
