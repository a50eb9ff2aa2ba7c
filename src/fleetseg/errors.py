"""Every error that fleetseg raises on purpose.

    FleetsegError              exit status 1: the work failed
    ├── UsageError             exit status 2: the call itself is wrong
    │   ├── UnknownNameError       no model, recipe, split or network of that name
    │   ├── RecipeError            a recipe's key or value is not legal
    │   └── MissingExtraError      an optional dependency is not installed
    ├── DataError              a data set's files are missing, broken or inconsistent
    │   └── ImageError             one image cannot be read or is impossible
    │       └── ImageTooLargeError     it has more pixels than memory or a limit allows
    ├── VideoError             a video or camera cannot be opened or decoded
    ├── CheckpointError        a file of weights is broken or belongs to another network
    ├── TrainingError          a training run cannot start or go on
    ├── CompileError           a network cannot become a library
    │   └── NoCompilerError        there is no C compiler
    ├── CompressionError       a network cannot lose channels
    ├── ExportError            a network cannot be written in a format, or its file does not agree with it
    ├── BenchmarkError         an engine that was asked for cannot be timed
    ├── DownloadError          a download failed or its content is wrong
    ├── ServiceError           the web service cannot start
    └── OutputError            a result cannot be written

A message is one sentence that names the file and the value and says what would be right. The command line
prints it and exits with ``exit_status``; there is no traceback for a user's mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FleetsegError(Exception):
    """Base class; catch it to catch everything fleetseg raises on purpose."""

    exit_status = 1


class UsageError(FleetsegError):
    """The call is wrong: an option, a path or a name that cannot be meant."""

    exit_status = 2


class UnknownNameError(UsageError):
    """A name that is in no registry; the nearest known names are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"known: {', '.join(names)}." if names else "none exists."
        super().__init__(f"There is no {kind} '{name}'; {hint}")
        self.name = name


class RecipeError(UsageError):
    """A training recipe with an unknown key or an illegal value."""


class MissingExtraError(UsageError):
    """An optional dependency is absent; the message is the install line."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'fleetseg[{extra}]'")
        self.extra = extra


class DataError(FleetsegError):
    """A data set's files are missing, broken or inconsistent."""


class ImageError(DataError):
    """An image cannot be read, has no pixels or is larger than memory allows."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than memory, or the limit that was set, allows."""


class VideoError(FleetsegError):
    """A video, stream or camera cannot be opened, or gives no frames."""


class CheckpointError(FleetsegError):
    """A file of weights is broken, hostile or belongs to another network."""


class TrainingError(FleetsegError):
    """A training run cannot start or go on."""


class CompileError(FleetsegError):
    """A network cannot be compiled: an unknown operation, no C compiler, or one that failed."""


class NoCompilerError(CompileError):
    """No C compiler is installed."""


class CompressionError(FleetsegError):
    """A network's channels cannot be removed, or it answers differently without them."""


class ExportError(FleetsegError):
    """A network cannot be written in a format, or the written file does not agree with the network."""


class BenchmarkError(FleetsegError):
    """An engine that was asked for by name cannot be timed: it cannot run the network, or it died."""


class DownloadError(FleetsegError):
    """A download failed, stopped short or has the wrong content."""


class ServiceError(FleetsegError):
    """The web service cannot start: its port is taken, or it may not use the address."""


class OutputError(FleetsegError):
    """A result cannot be written where it was asked for."""
