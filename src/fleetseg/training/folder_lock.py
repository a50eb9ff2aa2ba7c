"""One live process a run's folder."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import IO

from fleetseg.errors import OutputError, UsageError

try:
    import fcntl
except ImportError:  # Windows: no lock, as before there was one
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """Held from its making until `release`, garbage collection or the end of the process, however that ends.

    The lock belongs to the process alone: worker processes that outlive a killed one hold nothing.
    """

    def __init__(self, path: Path) -> None:
        """`UsageError` if another live process holds it; `OutputError` if the file cannot be made."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
        if fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                file.close()
                raise UsageError(
                    f"{path.parent}: is in use by a running training (process {holder}); wait for its end, or choose "
                    f"another --out"
                ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self.release = weakref.finalize(self, _release, file, path, os.getpid())


def _release(file: IO[str], path: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a worker, which has a copy of everything
        path.unlink(missing_ok=True)
        file.close()
