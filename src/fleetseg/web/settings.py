"""What the service allows; `fleetseg serve` fills this in."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Host names that browsers and programs on the same machine use.
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """Limits and who may call. Every limit holds for one request; `queue` and `streams` for the whole service."""

    workers: int
    #: Requests that may wait for a worker; the next one is answered 429.
    queue: int = 32
    #: WebSocket streams at once.
    streams: int = 8
    max_bytes: int = 20_000_000
    max_pixels: int = 25_000_000
    #: From the request's head to its answer, the upload and the wait included.
    max_seconds: float = 10.0
    #: None: no key is needed. Not shown when settings are printed.
    api_key: str | None = field(default=None, repr=False)
    #: Origins of other web pages that may call ("https://example.org"); "*" is all of them.
    origins: tuple[str, ...] = ()
    #: Host headers that are answered; None: all. Pages elsewhere could otherwise reach a loopback service by naming
    #: its address as theirs (DNS rebinding).
    hosts: tuple[str, ...] | None = LOOPBACK_HOSTS
