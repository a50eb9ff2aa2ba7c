"""What every request passes before anything looks at it, and the headers that every answer carries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetseg.web.problems import Problem
from fleetseg.web.settings import Settings

#: Addresses that need no key: the page's own files hold nothing, and balancers ask after health without one.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs"})
OPEN_PREFIX = "/page/"
_LONGEST_PATH = 500
#: A browser cannot set headers of a WebSocket; there the key travels as one of the offered subprotocols.
STREAM_PROTOCOL, KEY_PROTOCOL = "fleetseg.v1", "fleetseg.key."

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


class Gate:
    """ASGI middleware: host, origin, path and key are checked before the application is called."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._key = _digest(settings.api_key) if settings.api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            await _refuse(problem, scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        path = scope["path"]
        if len(path) > _LONGEST_PATH or "\\" in path or ".." in path or any(ord(c) < 32 for c in path):
            raise Problem("bad-request", "the path is none of this service's; /docs lists them")
        self._check_host(headers)
        self._check_origin(headers)
        is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
        if self._key is not None and not is_open:
            self._check_key(headers)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise Problem("bad-request", f"{len(hosts)} Host headers were sent; one is needed")
        name = hosts[0].lower()
        if not name.endswith("]"):
            name = name.rpartition(":")[0] or name
        if self._settings.hosts is not None and name not in self._settings.hosts:
            raise Problem(
                "bad-request", f"the host {name[:80]!r} is not served here; start with --allow-host to add it"
            )

    def _check_origin(self, headers: Headers) -> None:
        """Pages of other origins may not make a visitor's browser call, unless they were allowed."""
        origin = headers.get("origin")
        if origin is None or "*" in self._settings.origins or origin in self._settings.origins:
            return
        if urlsplit(origin).netloc.lower() != headers["host"].lower():
            raise Problem("origin-refused", f"pages of {origin[:80]!r} may not call; --allow-origin would let them")

    def _check_key(self, headers: Headers) -> None:
        given = headers.get("x-api-key") or _bearer(headers) or _subprotocol_key(headers)
        assert self._key is not None
        # Digests have one length, so the comparison takes the same time whatever was given.
        if given is None or not hmac.compare_digest(_digest(given), self._key):
            sentence = "the API key is wrong" if given else "no API key was sent"
            raise Problem("key-needed", f"{sentence}; send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _subprotocol_key(headers: Headers) -> str | None:
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        text = offered.strip()
        if text.startswith(KEY_PROTOCOL):
            encoded = text.removeprefix(KEY_PROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return None
    return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the connection's first message
        await send({"type": "websocket.close", "code": 1008, "reason": str(problem)[:120]})
        return
    await problem.response()(scope, receive, send)
