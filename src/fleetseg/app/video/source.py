"""Where frames come from: video files, streams from the network, cameras."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.errors import ImageTooLargeError, UsageError, VideoError
from fleetseg.image import max_pixels
from fleetseg.optional_packages import need

#: Suffixes (lower case) by which a file is taken for a video.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"}
)
#: FFmpeg's names of what such files may be inside: none refers to other files.
_FILE_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,asf,flv"
_STREAMS = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "udp://", "srt://", "tcp://")
_CAMERA = re.compile(r"webcam:(\d+)$")
#: Seconds until a stream must have begun, and until its next data must have come.
OPEN_SECONDS, READ_SECONDS = 15.0, 10.0
#: Frame rate that is assumed where a stream does not say any.
USUAL_RATE = Fraction(30)
NO_FRAME = "no frame could be decoded; it is empty, broken or encrypted"


def is_video(argument: str) -> bool:
    """Whether an argument names a video file by its suffix, a stream or a camera."""
    if argument.startswith("webcam:") or argument.startswith(_STREAMS):
        return True
    web = argument.startswith(("http://", "https://"))
    path = argument.partition("?")[0] if web else argument
    return Path(path).suffix.lower() in (VIDEO_SUFFIXES | {".m3u8"} if web else VIDEO_SUFFIXES)


def without_password(argument: str) -> str:
    """A URL as it may be printed."""
    return re.sub(r"(://)[^/@]*@", r"\1…@", argument)


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    #: Place among the source's frames, from 0; dropped ones count.
    number: int
    #: Time stamp in units of the source's time base, from about 0, strictly increasing.
    pts: int
    seconds: float
    #: `time.perf_counter()` when it was decoded.
    arrived: float
    decoded: Any

    def picture(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright."""
        rgb = self.decoded.to_ndarray(format="rgb24")
        turns = round(self.decoded.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


class VideoSource:
    """An opened video; a context manager. Iterating gives `Frame` and, of its sound, encoded packets.

    What could not be decoded is passed over and counted (`damaged`); where the file breaks off or the camera goes,
    the iteration ends and `ended_by` says why.
    """

    def __init__(self, argument: str, live: bool | None = None) -> None:
        """Open a file, URL or ``webcam:N``. `live` None: cameras and streams without an end are.

        `UsageError` for what does not exist, `VideoError` for what is no video or cannot be reached,
        `MissingExtraError` without PyAV.
        """
        self._av = need("av", "video", "video")
        self.name = without_password(argument)
        self._container = self._open(argument)
        try:
            self._choose_streams()
        except Exception:
            self._container.close()
            raise
        self.live = (self._container.duration is None and not Path(argument).is_file()) if live is None else live
        # Decoding several frames at once makes each of them later.
        self._video.thread_type = "SLICE" if self.live else "AUTO"
        self.time_base: Fraction = self._video.time_base
        self.rate: Fraction = self._video.average_rate or self._video.guessed_rate or USUAL_RATE
        self.damaged = 0
        #: (width, height) of the first frame, upright.
        self.size: tuple[int, int] = (0, 0)
        self._lock, self._reading, self._left = threading.Lock(), False, False
        self.ended_by: str | None = None
        self._items = self._decode()
        try:
            self._begun = self._until_first_frame()
        except Exception:
            self._container.close()
            raise

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_: object) -> None:
        """Close, or leave that to a thread that still reads: FFmpeg does not survive both at once."""
        with self._lock:
            self._left = True
            if not self._reading:
                self._container.close()

    @property
    def audio(self) -> Any:
        """PyAV's stream of the sound, or None."""
        return self._audio

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there are, where the file says so."""
        if self._video.frames:
            return int(self._video.frames)
        if self._container.duration is None:
            return None
        seconds = Fraction(self._container.duration, self._av.time_base)
        return max(1, round(float(seconds * self.rate)))

    def __iter__(self) -> Iterator[Frame | Any]:
        with self._lock:
            self._reading = True
        try:
            yield from self._begun
            self._begun = []
            yield from self._items
        finally:
            with self._lock:
                self._reading = False
                if self._left:
                    self._container.close()

    def _until_first_frame(self) -> list[Frame | Any]:
        """What comes up to the first frame; its size, not the header's, is what counts."""
        begun: list[Frame | Any] = []
        for item in self._items:
            begun.append(item)
            if isinstance(item, Frame):
                sideways = round(item.decoded.rotation / 90) % 2
                own = (item.decoded.width, item.decoded.height)
                self.size = own[::-1] if sideways else own
                return begun
        reason = f" ({self.ended_by})" if self.ended_by else ""
        raise VideoError(f"{self.name}: {NO_FRAME}{reason}")

    def _decode(self) -> Iterator[Frame | Any]:
        number, last_pts, first = 0, -1, None
        for packet in self._packets():
            if packet.stream is self._audio:
                if packet.dts is not None:
                    yield packet
                continue
            for decoded in self._decoded(packet):
                pts = decoded.pts
                if first is None:
                    first = self._start(pts)
                step = max(1, round(1 / (self.rate * self.time_base)))
                pts = last_pts + step if pts is None else max(pts - first, last_pts + 1)
                yield Frame(number, pts, float(pts * self.time_base), time.perf_counter(), decoded)
                number, last_pts = number + 1, pts

    def audio_shift(self) -> int:
        """What to take off the sound's time stamps so that they begin where the frames' do."""
        start = self._container.start_time
        if start is None or self._audio is None:
            return 0
        return round(float(Fraction(start, self._av.time_base) / self._audio.time_base))

    def _start(self, first_pts: int | None) -> int:
        start = self._container.start_time
        if start is None:
            return first_pts or 0
        return round(Fraction(start, self._av.time_base) / self.time_base)

    def _packets(self) -> Iterator[Any]:
        streams = [self._video] + ([self._audio] if self._audio is not None else [])
        try:
            yield from self._container.demux(*streams)
        except self._av.error.EOFError:
            return
        except (self._av.error.FFmpegError, OSError) as error:
            self.ended_by = getattr(error, "strerror", None) or str(error)

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self._av.error.EOFError:
            return []
        except (self._av.error.FFmpegError, OSError):
            self.damaged += 1
            return []

    def _open(self, argument: str) -> Any:
        camera = argument.startswith("webcam:")
        path = Path(argument)
        if not camera and "://" not in argument:
            if path.is_dir():
                raise UsageError(f"{path}: is a folder, not a video")
            if not path.is_file():
                raise UsageError(f"{path}: no such file or folder")
        try:
            if camera:
                return self._open_camera(argument)
            if path.is_file():
                # A file must not make us read others or call servers, as a playlist could.
                local = {"protocol_whitelist": "file", "format_whitelist": _FILE_FORMATS}
                return self._av.open(str(path.resolve()), container_options=local)
            options = {"rtsp_transport": "tcp"} if argument.startswith("rtsp") else {}
            return self._av.open(argument, options=options, timeout=(OPEN_SECONDS, READ_SECONDS))
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"{self.name}: {self._reason(error, camera)}") from error

    def _open_camera(self, argument: str) -> Any:
        found = _CAMERA.match(argument)
        if found is None:
            raise UsageError(f"{argument}: a camera is webcam: and its number, such as webcam:0")
        number = found[1]
        if sys.platform == "darwin":
            return self._av.open(number, format="avfoundation", options={"framerate": "30"})
        if sys.platform == "win32":
            return self._av.open(f"video={number}", format="dshow")
        return self._av.open(f"/dev/video{number}", format="video4linux2,v4l2", timeout=(OPEN_SECONDS, READ_SECONDS))

    def _reason(self, error: Exception, camera: bool) -> str:
        text = getattr(error, "strerror", None) or " ".join(str(error).split())
        if isinstance(error, self._av.error.InvalidDataError):
            return "is broken, cut off or no video"
        if isinstance(error, self._av.error.EOFError):
            return NO_FRAME
        if camera and isinstance(error, FileNotFoundError):
            return "there is no such camera"
        if camera:
            return f"the camera cannot be used ({text}); does another program use it?"
        return f"cannot be opened ({text})"

    def _choose_streams(self) -> None:
        streams = self._container.streams
        if not streams.video:
            raise VideoError(f"{self.name}: has {'sound but ' if streams.audio else ''}no pictures")
        self._video = streams.video[0]
        self._audio = streams.audio[0] if streams.audio else None
        if self._video.codec_context is None:
            raise VideoError(f"{self.name}: its codec is unknown here; convert it to H.264, for example")
        width, height = self._video.codec_context.width, self._video.codec_context.height
        if width * height > max_pixels():
            raise ImageTooLargeError(
                f"{self.name}: frames of {width}×{height} need more than the free memory; make the video smaller"
            )
