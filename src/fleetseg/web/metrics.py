"""What ``GET /metrics`` tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

#: Upper edges in seconds: from what the network takes on fast machines to the usual time limit.
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        """`waiting` is asked, whenever the metrics are read, how many requests wait."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "fleetseg_requests_total", "Answered requests for masks", ("status",), registry=self._registry
        )
        self._images = Counter(
            "fleetseg_images_total", "Segmented images", ("model", "engine", "via"), registry=self._registry
        )
        self._seconds = Histogram(
            "fleetseg_stage_seconds", "Time of each stage", ("stage",), buckets=_BUCKETS, registry=self._registry
        )
        self._dropped = Counter(
            "fleetseg_dropped_frames_total", "Frames of streams that a newer one replaced", registry=self._registry
        )
        self.streams = Gauge("fleetseg_streams", "Open streams", registry=self._registry)
        Gauge("fleetseg_waiting", "Requests that wait for a worker", registry=self._registry).set_function(waiting)

    def answered(self, status: int, seconds: float) -> None:
        """A request for a mask was answered, so long after it came."""
        self._requests.labels(str(status)).inc()
        self._seconds.labels("whole").observe(seconds)

    def segmented(self, model: str, engine: str, via: str, seconds: dict[str, float]) -> None:
        """An image went through; `via` is "post" or "stream"."""
        self._images.labels(model, engine, via).inc()
        for stage, duration in seconds.items():
            self._seconds.labels(stage).observe(duration)

    def dropped(self) -> None:
        """A frame was replaced by a newer one before its turn."""
        self._dropped.inc()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
