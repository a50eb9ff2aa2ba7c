"""Decoding, network and encoding at the same time, results in order.

    reader thread ── FrameQueue ──> dispatcher thread ── pool of networks ──> ordered results ──> the caller's thread

The caller's thread smooths, encodes and shows. Every arrow holds a bounded number of frames, so memory does not
depend on the video's length. FFmpeg, OpenCV and the engines work outside Python's lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fleetseg.app.video.frame_queue import FrameQueue
from fleetseg.app.video.labelling import Labeller, Picture, Seen, Smoother
from fleetseg.app.video.source import Frame, VideoSource

#: What a worker makes of a picture and its mask: frames for the encoders, class counts.
Finish = Callable[[Picture, Picture], Any]


@dataclass(frozen=True)
class Labelled:
    """One frame with its mask."""

    frame: Frame
    mask: Picture
    #: What `finish` gave.
    finished: Any
    #: Whether the network looked at this very frame; else the mask is an earlier one's.
    fresh: bool


class Pipeline:
    """Labels the frames of a source; iterate once, in one thread. `stop` may be called from anywhere."""

    def __init__(
        self,
        source: VideoSource,
        labeller: Labeller,
        finish: Finish,
        workers: int,
        *,
        every: int = 1,
        smoothing: float = 0.0,
        drop: bool = False,
    ) -> None:
        """`every`: the network looks at every so many frames, the others keep the last mask. `smoothing`: see
        `Smoother`. `drop`: frames that come while all networks work are left out, for live sources.
        """
        self._source, self._labeller, self._finish = source, labeller, finish
        self._every, self._drop = every, drop
        self._smoother = Smoother(smoothing) if smoothing else None
        self._frames = FrameQueue(2 * workers, drop)
        # How many frames are between decoder and encoder: some in store, so that no network pauses, but none of a
        # live picture, which would be late.
        self._room = threading.Semaphore(workers if drop else workers + 2)
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="network")
        self._stopped = threading.Event()

    @property
    def dropped(self) -> int:
        """Frames left out so far."""
        return self._frames.dropped

    def stop(self) -> None:
        """End soon: what networks already look at is finished, nothing else is."""
        self._stopped.set()
        self._frames.close()

    def __iter__(self) -> Iterator[Labelled | Any]:
        """`Labelled` frames and packets of sound in order. Errors of any thread are raised here."""
        for work in (self._read, self._dispatch):
            threading.Thread(target=self._run, args=(work,), daemon=True, name=work.__name__).start()
        last_mask: Any = None
        try:
            while (item := self._results.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                if not isinstance(item, Future):
                    yield item
                    continue
                frame, picture, mask, finished, fresh = item.result()
                self._room.release()
                if fresh and self._smoother is not None:
                    mask = self._labeller.mask_of(self._smoother(mask))
                if not fresh:
                    mask = last_mask
                if finished is None:
                    finished = self._finish(picture, mask)
                last_mask = mask
                yield Labelled(frame, mask, finished, fresh)
                if self._stopped.is_set() and self._drop:
                    return
        finally:
            self.stop()
            self._room.release()  # the dispatcher may wait for it
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # carried to the caller's thread
            self._frames.close()
            self._results.put(error)

    def _read(self) -> None:
        for item in self._source:
            if not self._frames.put(item) or self._stopped.is_set():
                break
        self._frames.close()

    def _dispatch(self) -> None:
        looked = 0
        while not self._stopped.is_set():
            self._room.acquire()
            item = self._frames.get()
            if item is None:
                break
            if not isinstance(item, Frame):
                self._room.release()
                self._results.put(item)
                continue
            fresh = looked % self._every == 0
            looked += 1
            future = self._pool.submit(self._look if fresh else self._pass, item)
            self._results.put(future)
        self._results.put(None)

    def _look(self, frame: Frame) -> tuple[Frame, Picture, Any, Any, bool]:
        seen: Seen = self._labeller.look(frame)
        if seen.mask is None:
            return frame, seen.picture, seen.probabilities, None, True
        return frame, seen.picture, seen.mask, self._finish(seen.picture, seen.mask), True

    def _pass(self, frame: Frame) -> tuple[Frame, Picture, Any, Any, bool]:
        return frame, self._labeller.picture(frame), None, None, False
