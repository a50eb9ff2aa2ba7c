"""Writing files so that nobody ever sees half of them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetseg.errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends well, else vanishes.

    Missing parent folders are made. `OutputError` names `path` for everything the file system refuses.
    """
    path = Path(path)
    _refuse_folder(path)
    # The suffix stays last: some writers choose the format by it.
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        usual_mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual_mode)  # safetensors makes its files private
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same call, this name says what matters
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({_why(error)})") from error
    finally:
        _remove(temporary)


def check_writable(folder: str | Path) -> None:
    """Make `folder` if it is missing; `OutputError` unless files can be written to it.

    For commands that work long before they write.
    """
    folder = Path(folder)
    probe = folder / f".{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to ({_why(error)})") from error
    finally:
        _remove(probe)


def check_file_writable(path: str | Path) -> None:
    """As `check_writable` of the file's folder; `OutputError` too if a folder stands where the file should."""
    _refuse_folder(Path(path))
    check_writable(Path(path).parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file atomically; `OutputError` if that is impossible."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text atomically; `OutputError` if that is impossible."""
    write_bytes(path, content.encode())


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A folder in `path`'s, which must exist, on the same disk; gone afterwards whatever happens.

    For what consists of several files: `move_into` puts them where they belong. `OutputError` names `path`.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.stem[:60]}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({_why(error)})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into(folder: Path, parent: Path) -> None:
    """Everything in `folder` to `parent`; what stands there under the same name is replaced.

    `OutputError` names what could not be moved.
    """
    for path in list(folder.iterdir()):
        target = parent / path.name
        try:
            if target.is_dir() and not target.is_symlink():
                # A folder cannot take a folder's place in one step: the old one steps aside, and is still whole.
                with folder_beside(target) as aside:
                    target.replace(aside / target.name)
                    path.replace(target)
            else:
                path.replace(target)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, a file's name is needed")


def _why(error: OSError) -> str:
    if isinstance(error, FileExistsError):  # of mkdir
        return f"{error.filename} is a file, a folder is needed"
    return error.strerror or str(error)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # E.g. the parent is a file: then there is nothing to remove.
        return
