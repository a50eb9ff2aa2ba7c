"""Files at any address that fsspec knows: local paths, s3://, gs://, sftp://, http:// and so on."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from fleetseg.atomic import check_writable as check_folder
from fleetseg.atomic import write_bytes
from fleetseg.errors import DataError, FleetsegError, MissingExtraError, OutputError, UsageError
from fleetseg.optional_packages import need

Result = TypeVar("Result")
#: The extra of the installation.
EXTRA = "batch"
#: Where a file is there whole or not at all as soon as it is stored, so that nothing has to be renamed.
_WHOLE_BY_THEMSELVES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "r2"})
#: How often a read or a write is tried, and the seconds before the second try; they double.
TRIES, FIRST_PAUSE = 3, 0.5
#: What places call the time or hash of a file's last change, best first.
_CHANGED = ("ETag", "etag", "mtime", "LastModified", "modified", "created")
#: What another try does not mend.
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError, FleetsegError)


def is_url(text: str) -> bool:
    """Whether `text` is an address with a scheme, not a local path."""
    return "://" in text


def read(url: str) -> bytes:
    """Content of a file; `DataError` if it cannot be had."""

    def once() -> bytes:
        system, path = _system(url)
        return bytes(system.cat_file(path))

    return _tried(once, url, "cannot be read", DataError)


def write(url: str, content: bytes) -> None:
    """Store a file whole or not at all, in place of an earlier one; `OutputError` if that is impossible."""

    def once() -> None:
        system, path = _system(url)
        if _is_local(system):
            write_bytes(path, content)
        elif _protocols(system) & _WHOLE_BY_THEMSELVES:
            system.pipe_file(path, content)
        else:
            folder, _, name = path.rpartition("/")
            system.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/.{name}.{secrets.token_hex(4)}.tmp"
            try:
                system.pipe_file(temporary, content)
                system.mv(temporary, path)
            except Exception:
                with suppress(Exception):  # the place may be gone, and the first failure is the one to tell
                    system.rm_file(temporary)
                raise

    _tried(once, url, "cannot be written", OutputError)


def check_writable(folder: str) -> None:
    """`OutputError` unless files can be stored in a folder; it is made if missing."""
    path = local_path(folder)
    if path is not None:
        check_folder(path)
        return
    probe = join(folder, f".{secrets.token_hex(4)}.tmp")
    write(probe, b"fleetseg")
    remove(probe)


def remove(url: str) -> None:
    """Remove a file that is there."""

    def once() -> None:
        system, path = _system(url)
        system.rm_file(path)

    _tried(once, url, "cannot be removed", OutputError)


def remove_empty(folder: str) -> None:
    """Remove a folder that is empty; where folders are only parts of names there is none."""
    path = local_path(folder)
    if path is not None and path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def kind(url: str) -> str:
    """``file``, ``directory`` or ``none``; `DataError` if that cannot be found out."""

    def once() -> str:
        system, path = _system(url)
        try:
            found: str = system.info(path)["type"]
        except FileNotFoundError:
            return "none"
        return found if found == "directory" else "file"

    return _tried(once, url, "cannot be looked at", DataError)


def files_below(folder: str) -> list[str]:
    """Sorted addresses of all files in a folder and its sub-folders."""

    def once() -> list[str]:
        system, path = _system(folder)
        return sorted(_full(system, name, folder) for name in system.find(path))

    return _tried(once, folder, "cannot be searched", DataError)


def matching(pattern: str) -> list[str]:
    """Sorted addresses of the files that match a pattern with *, ? or [."""

    def once() -> list[str]:
        system, path = _system(pattern)
        found = system.glob(path, detail=True)
        return sorted(_full(system, name, pattern) for name, info in found.items() if info["type"] != "directory")

    return _tried(once, pattern, "cannot be searched", DataError)


def stamp(url: str) -> str | None:
    """A text that changes when the file does (size and, as the place gives it, ETag or time); None without a file."""

    def once() -> str | None:
        system, path = _system(url)
        try:
            info = system.info(path)
        except FileNotFoundError:
            return None
        changed = next((info[key] for key in _CHANGED if key in info), "")
        return f"{info.get('size')} {changed}"

    return _tried(once, url, "cannot be looked at", DataError)


def full(text: str) -> str:
    """An address as the other functions take and give it: local paths absolute, without a scheme."""
    system, path = _system(text)
    return _full(system, path, text)


def join(folder: str, name: str) -> str:
    """The address of `name` (parts separated by /) in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def local_path(text: str) -> Path | None:
    """The path of a local address, None for another."""
    system, path = _system(text)
    return Path(path) if _is_local(system) else None


def _system(url: str) -> tuple[Any, str]:
    if re.match(r"[^/]*://[^/@]*:[^/@]*@", url):
        plain = re.sub(r"://[^/@]*@", "://…@", url)
        raise UsageError(f"{plain}: the manifest would hold the password; use keys or fsspec's configuration file")
    fsspec = need("fsspec", "work in batches", EXTRA)
    try:
        # Lists that are kept would hide what other workers write.
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(f"{url}: {error}; reading it", EXTRA) from None
    except ValueError as error:
        raise UsageError(f"{url}: {' '.join(str(error).split())}") from None
    return system, str(path)


def _full(system: Any, path: str, url: str) -> str:
    """The address of a path of the place that `url` belongs to, which may hold a host that the path does not."""
    if _is_local(system):
        return path
    own = str(system._strip_protocol(url))
    plain = url.rstrip("/")
    return plain.removesuffix(own) + path if plain.endswith(own) else str(system.unstrip_protocol(path))


def _is_local(system: Any) -> bool:
    return "file" in _protocols(system)


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _tried(
    once: Callable[[], Result], url: str, what: str, raised: type[DataError | OutputError], tries: int = TRIES
) -> Result:
    """Call `once`; other tries follow where they may help."""
    for number in range(tries):
        try:
            return once()
        except FleetsegError:
            raise
        except Exception as error:  # what sits behind fsspec raises what it likes
            if number + 1 < tries and not isinstance(error, _FINAL) and not _lacks_credentials(error):
                time.sleep(FIRST_PAUSE * 2**number)
                continue
            raise raised(f"{url}: {what} ({_reason(error)})") from error
    raise AssertionError("unreachable")


def _lacks_credentials(error: BaseException) -> bool:
    return "credentials" in type(error).__name__.lower()


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    if _lacks_credentials(error):
        return "no credentials were found: for s3:// set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return f"not allowed: {text}"
    return text
