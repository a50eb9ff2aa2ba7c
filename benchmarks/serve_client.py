"""A client that takes as little of the processors as HTTP/1.1 allows: the service that it measures shares them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

Reply = tuple[int, dict[str, str], bytes]


class Connection:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    async def post(self, content: bytes, name: str) -> Reply:
        """Send an image; status, headers and body of the answer."""
        head = f"POST /v1/segment HTTP/1.1\r\nHost: {self._host}\r\nX-Request-ID: {name}\r\n"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers, body

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def connect(url: str) -> Connection:
    """A new connection."""
    host = urlsplit(url).netloc
    name, _, port = host.partition(":")
    return Connection(*await asyncio.open_connection(name, int(port)), host)


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """So many open connections."""
    opened = [await connect(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
