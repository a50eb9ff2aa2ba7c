"""Live sources: frames that come too fast are left out, streams go away."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fleetseg.app.video.frame_queue import FrameQueue
from fleetseg.app.video.run import VideoOptions, label_video
from fleetseg.app.video.source import Frame, VideoSource
from fleetseg.runtime import load

from .videos import frames_of, predict, stripes, write_video


def frame(number: int) -> Frame:
    return Frame(number, number, 0.0, 0.0, None)


def test_queue_keeps_the_newest_frame_and_all_sound() -> None:
    frames = FrameQueue(2, newest_only=True)
    for item in (frame(0), "sound", frame(1), frame(2)):
        assert frames.put(item)
    assert frames.dropped == 2
    assert [frames.get(), frames.get().number] == ["sound", 2]
    frames.close()
    assert frames.get() is None
    assert not frames.put(frame(3))


def test_queue_of_a_file_makes_its_reader_wait() -> None:
    frames = FrameQueue(2, newest_only=False)
    reader = threading.Thread(target=lambda: [frames.put(frame(number)) for number in range(5)], daemon=True)
    reader.start()
    assert [frames.get().number for _ in range(5)] == list(range(5))
    reader.join(10)
    assert not reader.is_alive()
    assert frames.dropped == 0


def test_slow_network_drops_frames_of_a_live_source(colour_onnx: Path) -> None:
    write_video(Path("a.mkv"), count=60, codec="ffv1", pix_fmt="bgr0")
    model = load(colour_onnx, threads=1)
    quick = model.predict
    model.predict = lambda *given: (time.sleep(0.02), quick(*given))[1]  # type: ignore[method-assign]
    options = VideoOptions(Path("o.mkv"), mask_video=Path("m.mkv"), drop=True)
    with VideoSource("a.mkv", live=True) as source:
        result = label_video([model], source, options, lambda _model, own: own)
    assert result.dropped > 0
    assert result.frames + result.dropped == 60
    masks, seconds = frames_of(Path("m.mkv"), "gray")
    assert len(masks) == result.frames
    for mask, second in zip(masks, seconds, strict=True):
        np.testing.assert_array_equal(mask, stripes(round(second / 0.04), 64, 48).argmax(axis=2))
    assert result.latency_ms(0.5) >= 20


def test_stream_that_goes_away_leaves_a_playable_file(
    colour_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    from fleetseg.app.video import source as source_module

    monkeypatch.setattr(source_module, "READ_SECONDS", 2.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"udp://127.0.0.1:{port}"

    def send() -> None:
        time.sleep(0.5)
        write_video(Path("sent.ts"), count=150, pix_fmt="yuv420p", size=(128, 96), format="mpegts")
        content = Path("sent.ts").read_bytes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(6):
                for start in range(0, len(content), 1316):
                    sender.sendto(content[start : start + 1316], ("127.0.0.1", port))
                    time.sleep(0.001)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    status = predict(colour_onnx, address, "--out", "o.mp4", "--json")
    sender.join(30)
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert status == 1, "the source went away"
    assert f"{address}: ends after frame" in shown.err
    assert not result["complete"]
    assert len(frames_of(Path("o.mp4"))[0]) == result["frames"] > 0
