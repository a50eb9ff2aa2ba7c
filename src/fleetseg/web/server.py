"""Running the application: the socket, the event loop, and an end that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.websockets import WebSocket, WebSocketDisconnect

from fleetseg.errors import ServiceError
from fleetseg.web.application import create_application
from fleetseg.web.connection import Connection
from fleetseg.web.service import Service
from fleetseg.web.stream import GOING_AWAY

#: Bytes that the head of a request may have.
_LONGEST_HEAD = 16_384
#: Connections at once; beyond, they are answered 503 and closed.
_CONNECTIONS = 1000
#: Seconds until a connection must have sent the head of a request, the first one or the next.
_SILENCE = 30
#: Seconds after which a client that takes nothing of its answer is disconnected (where the system can do that).
_UNTAKEN = 30
#: Seconds added to a request's time limit before what still runs at the end is given up.
_GRACE = 5
#: Seconds in which streams must have been told that the service ends.
_FAREWELL = 1.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `ServiceError` says why there is none. Port 0 takes a free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceError(f"--host {host}: is no address of this machine ({reason})") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted connections inherit it; else their answers stay in memory
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _UNTAKEN)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"port {port} of {host} cannot be had ({error.strerror}); choose another with --port (0: any free one)"
        ) from error
    return listening


class Server(uvicorn.Server):
    """uvicorn's server with a drain: on SIGTERM or Ctrl-C nothing new is taken and everything taken is answered."""

    def __init__(self, service: Service, ready: Callable[[], None]) -> None:
        """`ready` is called once requests are answered."""
        self._service, self._ready = service, ready
        super().__init__(
            uvicorn.Config(
                create_application(service),
                # Its parser, unlike the faster one, bounds the head of a request.
                http=Connection,
                h11_max_incomplete_event_size=_LONGEST_HEAD,
                ws="websockets-sansio",
                ws_max_size=service.settings.max_bytes,
                ws_per_message_deflate=False,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=_SILENCE,
                timeout_graceful_shutdown=int(service.settings.max_seconds) + _GRACE,
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                log_level="warning",
                lifespan="off",
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams are told that the service goes away; then see uvicorn."""
        with contextlib.suppress(TimeoutError):  # of clients that do not read
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(_say_farewell(stream) for stream in self._service.streams))
        await super().shutdown(sockets)
        self._service.queue.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """The first signal drains, a second one gives up what still runs."""
        self._service.draining = True
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which afterwards dies of the signal; an end that went well is a success here."""
        kept = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


async def _say_farewell(stream: WebSocket) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have gone by itself
        await stream.close(GOING_AWAY, "the service is ending")


def run(service: Service, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until a signal; returns when everything that was taken is answered."""
    server = Server(service, ready)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve([listening]))
