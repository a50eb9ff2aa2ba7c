"""Label a whole video: source, networks, and everything that is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetseg.app.video.labelling import Labeller, Painter, Picture, Size
from fleetseg.app.video.pipeline import Labelled, Pipeline
from fleetseg.app.video.shares import SharesFile
from fleetseg.app.video.sink import VideoSink, check_mask_path, check_overlay_path
from fleetseg.app.video.source import VideoSource
from fleetseg.errors import VideoError
from fleetseg.runtime import Model


@dataclass(frozen=True)
class VideoOptions:
    """What is wanted; paths that are None are not written."""

    out: Path
    mask_video: Path | None = None
    shares: Path | None = None
    every: int = 1
    smoothing: float = 0.0
    #: None: for live sources.
    drop: bool | None = None

    def check(self) -> None:
        """`UsageError` for names that no such file can have."""
        check_overlay_path(self.out)
        if self.mask_video is not None:
            check_mask_path(self.mask_video)


@dataclass
class VideoResult:
    """What became of a video, also while it runs."""

    size: Size
    network_size: Size
    live: bool
    expected_frames: int | None
    frames: int = 0
    dropped: int = 0
    damaged: int = 0
    seconds: float = 0.0
    #: Sum over the frames of each class's share.
    share_sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    #: From a frame's decoding until it was encoded, of the last frames (seconds).
    latencies: list[float] = field(default_factory=list)
    stopped: bool = False
    #: Why the source ended before its end, if it did.
    ended_by: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Mean share of each class."""
        return self.share_sums / max(1, self.frames)

    def latency_ms(self, part: float) -> float:
        """Quantile of the end-to-end latency, 0 without any frame."""
        return 1000 * float(np.quantile(self.latencies, part)) if self.latencies else 0.0


#: Frames whose latency is remembered.
_REMEMBERED = 10_000
Told = Callable[[VideoResult, Picture | None], None]


def label_video(
    models: Sequence[Model],
    source: VideoSource,
    options: VideoOptions,
    choose_size: Callable[[Model, Size], Size],
    told: Told = lambda _result, _picture: None,
    on_start: Callable[[Callable[[], None]], None] = lambda _stop: None,
    picture_wanted: bool = False,
) -> VideoResult:
    """Write what `options` names. Each of `models` is used by one thread; give several of one thread each.

    `told` hears of every frame, in the caller's thread, with the painted picture if it is wanted; `on_start` gets a
    function that ends the work early with whole files. Raises `OutputError` for a file that cannot be written and
    `VideoError` if the end came before the first frame; then nothing is left.
    """
    options.check()
    model = models[0]
    seen = choose_size(model, source.size)
    drop = source.live if options.drop is None else options.drop
    labeller = Labeller(models, source.size, seen, smoothed=options.smoothing > 0)
    painter = Painter(model.labels, source.size)
    result = VideoResult(source.size, seen, source.live, source.expected_frames)
    result.share_sums = np.zeros(model.labels.num_classes)
    with ExitStack() as files:
        overlay = files.enter_context(VideoSink(options.out, source, painter.size))
        masks = shares = None
        if options.mask_video is not None:
            masks = files.enter_context(VideoSink(options.mask_video, source, source.size, mask=True))
        if options.shares is not None:
            shares = files.enter_context(SharesFile(options.shares, model.labels))
        result.notes += [overlay.note] if overlay.note else []

        def finish(picture: Picture, mask: Picture) -> tuple[Any, Any, Any, Any]:
            counts = np.bincount(mask.ravel(), minlength=model.labels.num_classes)
            painted = painter(picture, mask)
            ids = masks.prepared(mask) if masks is not None else None
            return overlay.prepared(painted), ids, counts / mask.size, painted if picture_wanted else None

        pipeline = Pipeline(
            source, labeller, finish, len(models), every=options.every, smoothing=options.smoothing, drop=drop
        )
        stopper = _Stopper(pipeline, result)
        on_start(stopper)
        started = time.perf_counter()
        for item in pipeline:
            if not isinstance(item, Labelled):
                overlay.write_sound(item)
                continue
            frame, (encodable, ids, part, painted) = item.frame, item.finished
            overlay.write(encodable, frame.pts)
            if masks is not None:
                masks.write(ids, frame.pts)
            if shares is not None:
                shares.write(frame.number, frame.seconds, part)
            _count(result, pipeline, source, part, time.perf_counter() - frame.arrived)
            result.seconds = time.perf_counter() - started
            told(result, painted)
        if not result.frames:
            raise VideoError(f"{source.name}: was stopped before its first frame, so nothing is written")
    result.damaged, result.ended_by = source.damaged, source.ended_by
    return result


class _Stopper:
    """Ends a pipeline and notes that it did."""

    def __init__(self, pipeline: Pipeline, result: VideoResult) -> None:
        self._pipeline, self._result = pipeline, result

    def __call__(self) -> None:
        self._result.stopped = True
        self._pipeline.stop()


def _count(
    result: VideoResult, pipeline: Pipeline, source: VideoSource, part: npt.NDArray[np.float64], latency: float
) -> None:
    result.frames += 1
    result.dropped, result.damaged = pipeline.dropped, source.damaged
    result.share_sums += part
    result.latencies.append(latency)
    del result.latencies[:-_REMEMBERED]
