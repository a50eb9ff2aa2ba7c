"""Clients that hang: nothing sent, half a head, or nothing taken."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fleetseg.web import server as module
from fleetseg.web.connection import Connection

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def slow_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers when the body is there, however long that takes."""
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("hello")(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server that waits for two seconds."""
    config = uvicorn.Config(slow_answer, http=Connection, timeout_keep_alive=2, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with module.listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield listening.getsockname()
        server.should_exit = True
        thread.join(30)


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n" + HEAD])
def test_who_sends_no_whole_head_is_disconnected(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(sent)
        received = b""
        while piece := client.recv(1000):
            received += piece
    assert received.count(b"hello") == sent.count(b"\r\n\r\n")


def test_a_slow_body_is_waited_for(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=60) as client:
        for _ in range(2):
            client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
            time.sleep(2.3)
            client.sendall(b"b")
            received = b""
            while not received.endswith(b"hello"):
                received += client.recv(1000)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system cannot do that")
def test_who_takes_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNTAKEN", 1)
    with module.listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection, pytest.raises(TimeoutError, match="timed out"):
            connection.settimeout(60)
            while True:
                connection.sendall(bytes(1_000_000))
