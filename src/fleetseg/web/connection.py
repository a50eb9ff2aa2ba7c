"""Connections that hang are ended: a request's head must arrive in time."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """uvicorn's, which waits as long as one likes for the head of a first request, and for the rest of any head.

    Between requests, and from a connection's first moment to the end of its first head, `timeout_keep_alive` seconds
    may pass. A body's time is counted where it is read.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        self._wait_for_head()

    def handle_events(self) -> None:
        """See uvicorn."""
        super().handle_events()
        if self._is_answering():
            self._stop_waiting()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """See uvicorn; from here on its pings find out who is gone."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing() and not self._is_answering():
            self._waiting = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        # Not abort(): a slow client may still be taking the last answer.
        self.transport.close()
