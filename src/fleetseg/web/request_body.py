"""Reading what is uploaded: bounded in bytes and time, in memory only, the file's name ignored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fleetseg.web.problems import Problem

#: What a form adds around its file.
_FORM_OVERHEAD = 10_000
_WANTED = "send the bytes of one image as the body, or as the field 'image' of multipart/form-data"


#: Is told of every piece of a body; `Problem` if there is no room for it.
Take = Callable[[int], None]


class UploadRoom:
    """The memory that all uploads may take together, from their first byte to their answer."""

    def __init__(self, limit: int) -> None:
        self._limit, self.held = limit, 0

    @contextmanager
    def share(self) -> Iterator[Take]:
        """What one request takes; it is given back when the block ends. Taking raises `Problem` 429 without room."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self.held + count > self._limit:
                raise Problem("overloaded", f"{self.held:,} bytes of uploads are held already; try again in 1 s", 1)
            mine += count
            self.held += count

        try:
            yield take
        finally:
            self.held -= mine


async def read_image_bytes(request: Request, max_bytes: int, deadline: float, take: Take) -> bytes:
    """The image in a request's body, bare or as a form's file. `Problem` for everything else."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported-type", "a compressed body is not taken; images are compressed already")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == "multipart/form-data"
    if not (is_form or kind in ("", "application/octet-stream") or kind.startswith("image/")):
        raise Problem("unsupported-type", f"the content type is {kind[:60]!r}; {_WANTED}")
    body = await _bounded(request, max_bytes + (_FORM_OVERHEAD if is_form else 0), max_bytes, deadline, take)
    content = await _only_file(request, body) if is_form else body
    if not content:
        raise Problem("bad-request", f"the body is empty; {_WANTED}")
    return content


async def _bounded(request: Request, limit: int, told: int, deadline: float, take: Take) -> bytes:
    sentence = f"the body has more than {told:,} bytes; make the image smaller"
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise Problem("too-large", sentence)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise Problem("too-large", sentence)
                take(len(part))
                parts.append(part)
    except TimeoutError:
        raise Problem("too-slow", "the body did not arrive within the time limit; nothing was done") from None
    except ClientDisconnect:
        raise Problem("bad-request", "the body stopped short; nothing was done") from None
    return b"".join(parts)


class _InMemory(MultiPartParser):
    """A form parser that keeps files in memory, whatever their size: the body is there and bounded already."""

    spool_max_size = 2**62


async def _only_file(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, whole(), max_files=1, max_fields=0).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Problem("bad-request", f"the form cannot be read ({error}); {_WANTED}") from None
    file = form.get("image")
    if not isinstance(file, UploadFile):
        raise Problem("bad-request", f"the form has no file 'image'; {_WANTED}")
    return await file.read()
