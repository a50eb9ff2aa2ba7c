"""What a comparison yields, as it stands in the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Result:
    """One engine on one network at one size."""

    model: str
    engine: str
    precision: str
    #: ``640x360``
    size: str
    threads: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    #: Percent of pixels with the class that PyTorch gives in float32.
    agreement: float
    #: Useful multiply-adds × 2 over the median time.
    gflops: float
    #: From reading the network to the first class map, in a fresh process that has imported its packages.
    first_result_ms: float
    #: The worker process's largest resident set: Python, packages, network, buffers; not the preparation.
    peak_memory_mb: float

    def as_json(self) -> dict[str, Any]:
        """The object in ``results``."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in vars(self).items()}


@dataclass(frozen=True)
class Skipped:
    """An engine that could not be timed, and why."""

    model: str
    engine: str
    precision: str
    size: str
    reason: str


@dataclass(frozen=True)
class KernelTime:
    """One kernel of the native engine; `ms` is the median over runs."""

    name: str
    place: str
    rows: int
    macs: int
    bytes_read: int
    bytes_written: int
    ms: float

    @property
    def gflops(self) -> float:
        """Useful multiply-adds × 2 a nanosecond."""
        return 2e-6 * self.macs / self.ms if self.ms else 0.0

    def as_json(self) -> dict[str, Any]:
        """The object in a profile's ``kernels``."""
        return {**vars(self), "ms": round(self.ms, 5), "gflops": round(self.gflops, 3)}


@dataclass(frozen=True)
class Profile:
    """Where the native engine's time goes."""

    model: str
    precision: str
    size: str
    threads: int
    kernels: tuple[KernelTime, ...]

    def as_json(self) -> dict[str, Any]:
        """The object in ``profile``."""
        return {**vars(self), "kernels": [kernel.as_json() for kernel in self.kernels]}


@dataclass
class Comparison:
    """Everything that was measured for one network at one size."""

    model: str
    size: str
    threads: int
    trials: int
    macs: int
    #: Whether the weights are random: agreement then says less, speed the same.
    random_weights: bool
    results: list[Result] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 90th and 99th percentile, linear between the two nearest values."""
    median, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
    return float(median), float(p90), float(p99)


def as_json(
    comparisons: Sequence[Comparison], peak_gflops: float | None, machine: dict[str, Any], versions: dict[str, str]
) -> dict[str, Any]:
    """The whole file; ``skipped`` and ``profile`` only where there are any."""
    record: dict[str, Any] = {
        "peak_gflops": peak_gflops,
        "machine": machine,
        "versions": versions,
        "results": [result.as_json() for comparison in comparisons for result in comparison.results],
    }
    skipped = [vars(one) for comparison in comparisons for one in comparison.skipped]
    profiles = [profile.as_json() for comparison in comparisons for profile in comparison.profiles]
    return record | ({"skipped": skipped} if skipped else {}) | ({"profile": profiles} if profiles else {})
