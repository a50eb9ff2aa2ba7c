"""Videos that the tests encode themselves: three upright stripes, one a class of the colour network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fleetseg.cli import main

av = pytest.importorskip("av")

Picture = npt.NDArray[np.uint8]
WriteVideo = Callable[..., Path]


def predict(model: Path, *words: str) -> int:
    """Run the command on a video of the own size; its exit status."""
    return main(["predict", str(model), *words, "--size", "native", "--threads", "2"])


def files_in(folder: Path) -> list[str]:
    """Names of all files but the network."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".onnx")


def stripes(number: int, width: int, height: int) -> Picture:
    """A red, a green and a blue stripe; red is as many sixteenths wide as the frame's number modulo 12."""
    picture = np.zeros((height, width, 3), np.uint8)
    first = (number % 12) * width // 16
    second = (first + width) // 2
    for channel, (left, right) in enumerate(((0, first), (first, second), (second, width))):
        picture[:, left:right, channel] = 230
    return picture


def write_video(
    path: Path,
    count: int = 12,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv444p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    sound: str | None = None,
    **options: Any,
) -> Path:
    """Frames at `times` (units of `time_base`; default every 40 ms), and a tone of the codec `sound`."""
    times = times or [40 * number for number in range(count)]
    with av.open(str(path), "w", **options) as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = time_base
        tone = file.add_stream(sound, rate=48000) if sound else None
        if tone:
            tone.layout = "mono"
        for number, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(stripes(number, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts, time_base
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if tone:
            write_tone(file, tone, times[-1] * float(time_base))
    return path


def write_tone(file: Any, stream: Any, seconds: float) -> None:
    """440 Hz."""
    for start in range(0, int(48000 * seconds) - 1024, 1024):
        wave = np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / 48000).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None] * 0.3, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def frames_of(path: Path, format: str = "rgb24") -> tuple[list[Picture], list[float]]:
    """Pictures and seconds of a video's frames."""
    with av.open(str(path)) as file:
        decoded = list(file.decode(video=0))
    return [frame.to_ndarray(format=format) for frame in decoded], [float(frame.time) for frame in decoded]
