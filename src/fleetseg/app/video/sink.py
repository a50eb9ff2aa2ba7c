"""Where labelled frames go: a video of overlays with the source's sound, and a lossless one of class ids."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.app.video.source import VideoSource
from fleetseg.atomic import replacing
from fleetseg.errors import OutputError, UsageError
from fleetseg.optional_packages import need

#: Suffix of an overlay's file → its encoder and what it is told.
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("libx264", {"preset": "veryfast", "crf": "20"}),
    ".mov": ("libx264", {"preset": "veryfast", "crf": "20"}),
    ".mkv": ("libx264", {"preset": "veryfast", "crf": "20"}),
    ".webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
}
#: Lossless, and every FFmpeg has it.
_MASK_ENCODER = "ffv1"


def check_overlay_path(path: Path) -> None:
    """`UsageError` for a suffix that no video has."""
    if path.suffix.lower() not in _ENCODERS:
        raise UsageError(f"--out {path}: a video's name is needed, ending with {', '.join(_ENCODERS)}")


def check_mask_path(path: Path) -> None:
    """`UsageError` unless the file is a Matroska video, which holds the lossless codec everywhere."""
    if path.suffix.lower() != ".mkv":
        raise UsageError(f"--mask-video {path}: the name must end with .mkv (lossless FFV1 in Matroska)")


class VideoSink:
    """One file being written; a context manager. It takes its place when the block ends well, else nothing is left.

    `OutputError` for a file that cannot be written, a full disk or a codec that this PyAV does not have.
    """

    def __init__(self, path: Path, source: VideoSource, size: tuple[int, int], mask: bool = False) -> None:
        """`size` is (width, height) of the pictures; `mask`: they are class ids, and no sound goes with them."""
        self._av = need("av", "video", "video")
        self.path = path
        #: A sentence about sound that the file cannot hold.
        self.note: str | None = None
        self._stack = ExitStack()
        self._shift = 0
        self._source, self._size, self._mask = source, size, mask
        self._container: Any = None

    def __enter__(self) -> VideoSink:
        with ExitStack() as undo:
            temporary = undo.enter_context(replacing(self.path))
            try:
                self._container = self._av.open(str(temporary), "w")
                self._add_streams()
            except (self._av.error.FFmpegError, OSError, ValueError) as error:
                if self._container is not None:
                    self._container.close()
                raise OutputError(f"{self.path}: cannot be written ({_text(error)})") from error
            self._stack = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        failure: BaseException | None = error
        for last in (self._flush, self._container.close) if failure is None else (self._container.close,):
            try:
                last()
            except (self._av.error.FFmpegError, OSError) as late:
                failure = failure or OutputError(f"{self.path}: cannot be written ({_text(late)})")
        self._stack.__exit__(type(failure) if failure else None, failure, trace)
        if failure is not None and failure is not error:
            raise failure

    def write(self, frame: Any, pts: int) -> None:
        """Encode a `prepared` picture at a time stamp in the source's units."""
        frame.pts, frame.time_base = pts, self._source.time_base
        try:
            for packet in self._video.encode(frame):
                self._container.mux(packet)
        except (self._av.error.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: cannot be written ({_text(error)})") from error

    def write_sound(self, packet: Any) -> None:
        """Pass a packet of the source's sound on, not decoded."""
        if self._audio is None:
            return
        packet.pts = None if packet.pts is None else packet.pts - self._shift
        packet.dts -= self._shift
        packet.stream = self._audio
        try:
            self._container.mux(packet)
        except (self._av.error.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path}: cannot be written ({_text(error)})") from error

    def _flush(self) -> None:
        for packet in self._video.encode(None):
            self._container.mux(packet)

    def prepared(self, picture: npt.NDArray[np.uint8]) -> Any:
        """(H, W, 3) RGB, or (H, W) class ids, of the sink's size → a frame to encode; may run in any thread."""
        if self._mask:
            return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return frame.reformat(format="yuv420p")

    def _add_streams(self) -> None:
        name, options = (_MASK_ENCODER, {}) if self._mask else _ENCODERS[self.path.suffix.lower()]
        if name not in self._av.codecs_available:
            raise OutputError(f"{self.path}: needs the encoder {name}, which this build of PyAV does not have")
        self._video = self._container.add_stream(name, rate=self._source.rate.limit_denominator(65535), options=options)
        self._video.width, self._video.height = self._size
        self._video.pix_fmt = "gray" if self._mask else "yuv420p"
        # Not one over the rate: every frame keeps its own time, however irregular.
        self._video.codec_context.time_base = self._source.time_base
        self._audio = None
        sound = self._source.audio
        if sound is None or self._mask:
            return
        if sound.codec_context is None or sound.codec_context.name not in self._container.supported_codecs:
            self.note = f"{self.path.suffix} cannot hold the sound of {self._source.name}, so it is left out; .mkv can"
            return
        self._audio = self._container.add_stream_from_template(sound)
        self._shift = self._source.audio_shift()


def _text(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())
