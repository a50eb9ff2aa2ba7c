"""How long two networks take for an image, taking turns: what the machine does besides hits both."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fleetseg.exporting import ExportRequest, export, scene
from fleetseg.runtime import load

#: Turns that are timed, after two that warm up.
_TURNS = 15


def latencies_ms(models: Sequence[str], size: tuple[int, int], threads: int = 1) -> list[float]:
    """Median milliseconds of each model (names or checkpoints) on ONNX Runtime, image in, logits out.

    `size` is (width, height). Errors as `exporting.export`.
    """
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        engines = []
        for number, model in enumerate(models):
            path = Path(folder) / f"{number}.onnx"
            export(model, path, ExportRequest("onnx", size))
            engines.append(load(path, threads=threads))
        image = scene(size, engines[0].metadata.network.in_channels)
        times: list[list[float]] = [[] for _ in engines]
        for turn in range(2 + _TURNS):
            for engine, own in zip(engines, times, strict=True):
                started = time.perf_counter()
                engine.logits(image)
                if turn >= 2:
                    own.append(1e3 * (time.perf_counter() - started))
    return [statistics.median(own) for own in times]
