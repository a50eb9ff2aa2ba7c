"""Live frames over a WebSocket: each binary message is an image, each answer its class map; the newest frame wins."""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from fleetseg.web.gate import STREAM_PROTOCOL
from fleetseg.web.problems import Problem, problem_of
from fleetseg.web.segmenting import Answer, Wanted, stream_answer
from fleetseg.web.service import Service

#: Close codes of RFC 6455: normal, going away, try again later.
NORMAL, GOING_AWAY, TRY_AGAIN_LATER = 1000, 1001, 1013
#: Seconds without a message after which a stream gives its place to others.
IDLE_SECONDS = 60.0


class Choice(BaseModel):
    """A text message of the client: what the following frames are answered with."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="default: the first")
    engine: str = Field(default="auto", max_length=40)
    confidence: bool = False


async def serve_stream(socket: WebSocket, service: Service) -> None:
    """One connection, from its greeting to its end."""
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(STREAM_PROTOCOL if STREAM_PROTOCOL in offered else None)
    if len(service.streams) >= service.settings.streams or service.draining:
        await socket.close(TRY_AGAIN_LATER, f"{len(service.streams)} streams are open; no more are allowed")
        return
    service.streams.add(socket)
    service.metrics.streams.set(len(service.streams))
    try:
        await _Stream(socket, service).run()
    except (WebSocketDisconnect, RuntimeError):
        return  # the client left while something was sent
    finally:
        service.streams.discard(socket)
        service.metrics.streams.set(len(service.streams))


class _Stream:
    """One frame is being segmented and one waits; a newer one takes the place of the one that waits."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._choice = Choice()
        self._waiting: tuple[int, bytes] | None = None
        self._arrived = asyncio.Event()
        self._frames = 0

    async def run(self) -> None:
        """Receive until the client leaves or says nothing any more."""
        answering = asyncio.create_task(self._answer_frames())
        try:
            while not answering.done():
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        message = await self._socket.receive()
                except TimeoutError:
                    await self._socket.close(NORMAL, f"no frame came for {IDLE_SECONDS:g} seconds")
                    return
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("bytes") is not None:
                    await self._take(message["bytes"])
                else:
                    await self._configure(message.get("text") or "")
        finally:
            answering.cancel()
            await asyncio.wait([answering])
            if not answering.cancelled():
                answering.result()  # its failure is the stream's

    async def _take(self, content: bytes) -> None:
        frame, self._frames = self._frames, self._frames + 1
        replaced, self._waiting = self._waiting, (frame, content)
        self._arrived.set()
        if replaced is not None:
            self._service.metrics.dropped()
            await self._socket.send_json({"frame": replaced[0], "dropped": True})

    async def _configure(self, text: str) -> None:
        try:
            choice = Choice.model_validate_json(text)
            self._service.model(choice.model)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the message"
            problem = Problem("bad-request", f"{place}: {first['msg']}")
            await self._socket.send_json({"problem": problem.document()})
        except Exception as error:
            await self._socket.send_json({"problem": problem_of(error).document()})
        else:
            self._choice = choice

    async def _answer_frames(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._waiting is None:
                continue
            (frame, content), self._waiting = self._waiting, None
            try:
                answer = await self._segment(frame, content)
            except Exception as error:
                await self._socket.send_json({"frame": frame, "problem": self._service.noted(error).document()})
                continue
            await self._socket.send_bytes(answer.content)

    async def _segment(self, frame: int, content: bytes) -> Answer:
        service, choice = self._service, self._choice
        limits = service.settings
        if len(content) > limits.max_bytes:
            raise Problem("too-large", f"the frame has more than {limits.max_bytes:,} bytes; make it smaller")
        served = service.model(choice.model)
        wanted = Wanted(engine=choice.engine, confidence=choice.confidence)
        answer = await service.queue.run(
            lambda alone: stream_answer(content, served, wanted, limits.max_pixels, alone, frame),
            time.monotonic() + limits.max_seconds,
        )
        service.metrics.segmented(served.name, answer.facts["engine"], "stream", answer.seconds)
        return answer
