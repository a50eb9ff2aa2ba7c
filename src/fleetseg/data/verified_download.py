"""Downloading many small files of known content over a few connections, checked and resumable."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from fleetseg.atomic import write_bytes
from fleetseg.errors import DownloadError, OutputError, UsageError

#: Answers that may be different a moment later: time-outs, too many requests, a server in trouble.
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

#: No file that is downloaded here comes near; a server that sends more has something else.
_MAX_BYTES = 64 * 2**20

_CHUNK_BYTES = 64 * 2**10

#: The longest wait that a server's Retry-After is granted, in seconds.
_MAX_RETRY_AFTER = 30.0


@dataclass(frozen=True)
class Connection:
    """How patiently files are fetched; times in seconds.

    timeout: longest silence of the server; a whole file may take `patience` times as long.
    attempts: how often a file is asked for before the download gives up.
    backoff: wait before the second attempt; doubles with each further one.
    """

    parallel: int = 8
    timeout: float = 20.0
    patience: float = 6.0
    attempts: int = 5
    backoff: float = 0.5


@dataclass(frozen=True)
class Fetched:
    """What a download did."""

    files: int
    #: Files that were there already with the right content.
    kept: int
    #: Bytes that came over the network.
    bytes: int


class _TemporaryError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, what: str, retry_after: float = 0.0) -> None:
        super().__init__(what)
        self.retry_after = retry_after


def download_verified(
    base_url: str,
    checksums: Mapping[str, str],
    out: Path,
    connection: Connection | None = None,
    on_file: Callable[[int], None] | None = None,
) -> Fetched:
    """Bring every file of `checksums` (relative path → SHA-256) from below `base_url` to below `out`.

    A file that is there with the right checksum is kept, so running again goes on where a download stopped. A
    file appears under its name only when it is complete and its checksum right. `on_file` is called in the
    calling thread with each finished file's bytes from the network (0 for a kept one). The first file that
    fails for good ends the download.

    Raises `UsageError` for an address that is not http or https, `DownloadError` naming the address and the
    fault, `OutputError` if `out` cannot be written.
    """
    _check_url(base_url)
    connection = connection or Connection()
    _make_folders(out, checksums)
    stop = threading.Event()
    kept = total = 0
    with ThreadPoolExecutor(connection.parallel, thread_name_prefix="download") as pool:
        waiting = [
            pool.submit(_fetch, _address(base_url, name), sha256, out / name, connection, stop)
            for name, sha256 in checksums.items()
        ]
        try:
            for future in as_completed(waiting):
                size = future.result()
                kept += size == 0
                total += size
                if on_file is not None:
                    on_file(size)
        except BaseException:  # Ctrl-C too: without this the pool would first finish every file
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Fetched(len(checksums), kept, total)


def _check_url(base_url: str) -> None:
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"'{base_url}' is no address to download from; it should begin with https:// or http://")


def _address(base_url: str, name: str) -> str:
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(name)}"


def _make_folders(out: Path, names: Mapping[str, str]) -> None:
    for folder in sorted({(out / name).parent for name in names}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: the folder cannot be made ({error.strerror})") from error


def _fetch(url: str, sha256: str, path: Path, connection: Connection, stop: threading.Event) -> int:
    """Bytes fetched; 0 if the file was there."""
    if _has_content(path, sha256):
        return 0
    wait = connection.backoff
    for attempt in range(1, connection.attempts + 1):
        try:
            content = _get(url, connection, stop)
            _check_content(content, sha256)
        except _TemporaryError as error:
            if attempt == connection.attempts or stop.is_set():
                raise DownloadError(
                    f"{url}: {error}, {attempt} times; finished files are kept, so run it again to go on"
                ) from error
            stop.wait(max(wait, min(error.retry_after, _MAX_RETRY_AFTER)))
            wait *= 2
        else:
            write_bytes(path, content)
            return len(content)
    raise AssertionError("the last attempt returns or raises")


def _has_content(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False  # absent or unreadable: fetching it will tell


def _check_content(content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise _TemporaryError(
            f"the content is wrong (SHA-256 {found[:12]}… of {len(content)} bytes, {sha256[:12]}… is right)"
        )


def _get(url: str, connection: Connection, stop: threading.Event) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "fleetseg"})
    try:
        with urllib.request.urlopen(request, timeout=connection.timeout) as response:
            content = _read(response, time.monotonic() + connection.timeout * connection.patience, stop)
            _check_length(content, response.headers.get("Content-Length"))
            return content
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise _http_failure(url, error) from error
    except TimeoutError as error:
        raise _TemporaryError(f"no answer within {connection.timeout:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _TemporaryError(f"no connection within {connection.timeout:g} s") from error
        raise _TemporaryError(f"the connection failed ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _TemporaryError(f"the connection broke ({error or type(error).__name__})") from error


def _read(response: http.client.HTTPResponse, deadline: float, stop: threading.Event) -> bytes:
    content = bytearray()
    # read1 returns what has come, so that a server that sends a byte now and then meets the deadline too.
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if time.monotonic() > deadline:
            raise _TemporaryError(f"only {len(content)} bytes came before the time was up")
        if len(content) > _MAX_BYTES:
            raise _TemporaryError(f"more than {_MAX_BYTES} bytes came")
        if stop.is_set():
            raise _TemporaryError("the download was stopped")
    return bytes(content)


def _check_length(content: bytes, announced: str | None) -> None:
    if announced is not None and announced.isdigit() and len(content) != int(announced):
        raise _TemporaryError(f"the answer broke off after {len(content)} of {announced} bytes")


def _http_failure(url: str, error: urllib.error.HTTPError) -> Exception:
    reason = " ".join(str(error.reason).split())  # of redirects in a circle it is several lines
    if error.code not in _TEMPORARY_STATUS:
        return DownloadError(
            f"{url}: the server answered {error.code} {reason}; the address has to be that of a folder "
            f"with the same files"
        )
    after = error.headers.get("Retry-After", "")
    return _TemporaryError(f"the server answered {error.code} {reason}", float(after) if after.isdigit() else 0.0)
