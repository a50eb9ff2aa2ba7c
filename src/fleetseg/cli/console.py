"""What commands say beside their results: sentences and progress, both on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item", covariant=True)


class SizedIterable(Sized, Iterable[Item], Protocol[Item]):
    """A collection whose length is known."""


def complain(sentence: str) -> None:
    """Print one sentence about what is wrong, or worth knowing, to stderr."""
    print(f"fleetseg: {sentence}", file=sys.stderr)


def track(items: SizedIterable[Item], what: str) -> Iterator[Item]:
    """Iterate with a progress bar and the time left; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=len(items), description=what)


@contextmanager
def share_bar(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar for work that tells its own share (0–1); silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)
