"""Frames on their way from the decoder to the networks."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from fleetseg.app.video.source import Frame


class FrameQueue:
    """Frames and packets of sound in order.

    A file's reader waits when the queue is full. A camera does not wait: with `newest_only` a frame that nobody took
    yet is replaced by the next one and counted in `dropped`. Sound is never dropped.
    """

    def __init__(self, capacity: int, newest_only: bool) -> None:
        self._items: deque[Any] = deque()
        self._capacity, self._newest_only = capacity, newest_only
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: Any) -> bool:
        """Add an item, waiting for room if need be; False once the queue is closed."""
        with self._changed:
            if self._newest_only and isinstance(item, Frame):
                waiting = [other for other in self._items if isinstance(other, Frame)]
                self.dropped += len(waiting)
                for other in waiting:
                    self._items.remove(other)
            while not self._newest_only and len(self._items) >= self._capacity and not self._closed:
                self._changed.wait()
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def get(self) -> Any:
        """The next item, or None when the queue is closed and empty."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more will be put; what is there can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
