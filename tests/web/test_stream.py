"""Live frames over a WebSocket."""

from __future__ import annotations

import io
import json
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from fleetseg.web import stream as module
from fleetseg.web.service import Service

PngOf = Callable[..., bytes]
ADDRESS = "ws://localhost/v1/stream"


def unpacked(message: bytes) -> tuple[dict[str, Any], npt.NDArray[np.uint8], bytes]:
    """Facts, class map, and the rest: the confidence."""
    (length,) = struct.unpack("<I", message[:4])
    facts = json.loads(message[4 : 4 + length])
    end = 4 + length + facts["mask_bytes"]
    return facts, np.array(Image.open(io.BytesIO(message[4 + length : end]))), message[end:]


def test_every_frame_gets_its_own_answer(client: TestClient, png_of: PngOf) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        for number in range(6):
            picture = np.zeros((8, 8 + number, 3), np.uint8)
            picture[..., number % 3] = 200
            socket.send_bytes(png_of(picture))
            facts, mask, rest = unpacked(socket.receive_bytes())
            assert (facts["frame"], facts["width"], rest) == (number, 8 + number, b"")
            assert mask.shape == (8, 8 + number)
            assert (mask == number % 3).all()


def test_confidence_on_demand(client: TestClient, png_of: PngOf) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_text(json.dumps({"model": "colours", "confidence": True}))
        socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        _, _, rest = unpacked(socket.receive_bytes())
        # Three equal logits: a third each.
        assert np.array(Image.open(io.BytesIO(rest))).tolist() == [[85] * 8] * 8


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("{", "bad-request", "Invalid JSON"),
        ('{"modle": "x"}', "bad-request", "modle: Extra inputs are not permitted"),
        ('{"model": "colour"}', "not-found", "did you mean colours?"),
    ],
)
def test_wrong_choices_are_told_and_change_nothing(
    client: TestClient, png_of: PngOf, text: str, kind: str, sentence: str
) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_text(text)
        problem = socket.receive_json()["problem"]
        assert problem["type"].endswith(kind) and sentence in problem["detail"]
        socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        assert unpacked(socket.receive_bytes())[0]["model"] == "colours"


def test_a_broken_frame_is_told_and_the_next_one_answered(client: TestClient, png_of: PngOf) -> None:
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_bytes(b"broken")
        answer = socket.receive_json()
        assert (answer["frame"], answer["problem"]["status"]) == (0, 422)
        socket.send_bytes(bytes(50_001))
        assert socket.receive_json()["problem"]["status"] == 413
        socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        assert unpacked(socket.receive_bytes())[0]["frame"] == 2


def test_the_newest_frame_wins(client: TestClient, png_of: PngOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun, real = threading.Event(), threading.Event(), module.stream_answer

    def slow(*arguments: Any) -> Any:
        begun.set()
        gate.wait(30)
        return real(*arguments)

    monkeypatch.setattr(module, "stream_answer", slow)
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        assert begun.wait(30)
        for _ in range(3):
            socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        assert [socket.receive_json() for _ in range(2)] == [{"frame": n, "dropped": True} for n in (1, 2)]
        gate.set()
        assert [unpacked(socket.receive_bytes())[0]["frame"] for _ in range(2)] == [0, 3]
    assert "fleetseg_dropped_frames_total 2.0" in client.get("/metrics").text


def test_streams_are_counted(client_with: Callable[..., TestClient], service: Service) -> None:
    client = client_with(streams=1)
    with client.websocket_connect(ADDRESS):
        with client.websocket_connect(ADDRESS) as second, pytest.raises(WebSocketDisconnect) as refused:
            second.receive_bytes()
        assert refused.value.code == 1013
        assert len(service.streams) == 1


def test_a_silent_stream_gives_its_place_to_others(
    client: TestClient, service: Service, png_of: PngOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.5)
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_bytes(png_of(np.zeros((8, 8, 3), np.uint8)))
        unpacked(socket.receive_bytes())
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_bytes()
    assert (ended.value.code, ended.value.reason) == (1000, "no frame came for 0.5 seconds")
    assert not service.streams
