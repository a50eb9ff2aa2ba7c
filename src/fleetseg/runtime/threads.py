"""How many threads an engine gets."""

from __future__ import annotations

from fleetseg.errors import UsageError
from fleetseg.runtime.onnx_engine import processors


def thread_count(threads: int | None) -> int:
    """`threads`, or one for every processor we may use; `UsageError` below 1."""
    if threads is None:
        return processors()
    if threads < 1:
        raise UsageError(f"threads is {threads}; at least 1 is needed")
    return threads
