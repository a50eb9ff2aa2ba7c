"""Which engine is the fastest for a file on this machine: measured once, then remembered.

The record is one small JSON file in the cache folder (``FLEETSEG_CACHE``, else ``~/.cache/fleetseg``), by the file's
hash, the size, the threads, the processor and the engines' versions; when any of them changes, it is measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata, util
from pathlib import Path

import numpy as np

from fleetseg.atomic import write_bytes
from fleetseg.errors import FleetsegError, OutputError
from fleetseg.runtime.model import Model, Size

#: Engine → (package that it needs, the name under which that is installed).
_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "openvino": ("openvino", "openvino"),
    "opencv": ("cv2", "opencv-python-headless"),
    "torch": ("torch", "torch"),
    "native": ("fleetseg", "fleetseg"),
    "native-bf16": ("fleetseg", "fleetseg"),
}

#: Images a candidate sees: to warm up, then to be timed, in rounds so that a slow moment hits all alike.
_WARM_UP, _ROUNDS = 2, 5

#: The size if the file says none.
_USUAL_SIZE = (480, 360)


def fastest_engine(
    content: bytes,
    candidates: Sequence[str],
    open_on: Callable[[str], Model],
    threads: int | None,
    size: Size | None = None,
) -> str:
    """The candidate whose run takes the least time; those that are not installed or fail are left out.

    `content` identifies the weights; `open_on` loads them on an engine. The first candidate, the file's own engine,
    is the answer where nothing can be compared. `size` = (width, height) is what the network will see; None takes the
    size of its training.
    """
    installed = [name for name in candidates if util.find_spec(_PACKAGES[name][0]) is not None]
    if len(installed) < 2:
        return candidates[0]
    record = _record_path(content, installed, threads, size)
    known = _remembered(record, installed)
    if known is not None:
        return known
    times = _measured(installed, open_on, size)
    best = min(times, key=lambda name: times[name], default=candidates[0])
    try:
        write_bytes(record, json.dumps({"engine": best, "milliseconds": times}, indent=2).encode())
    except OutputError:
        return best  # no cache, no memory: measured again next time
    return best


def _measured(engines: Sequence[str], open_on: Callable[[str], Model], size: Size | None) -> dict[str, float]:
    """Engine → median milliseconds of one image."""
    models: dict[str, Model] = {}
    times: dict[str, list[float]] = {}
    for name in engines:
        try:
            model = open_on(name)
            image = _image(model, size)
            for _ in range(_WARM_UP):
                model.predict(image)
        except FleetsegError:
            continue
        models[name], times[name] = model, []
    for _ in range(_ROUNDS):
        for name, model in models.items():
            image = _image(model, size)
            started = time.perf_counter()
            model.predict(image)
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}


def _image(model: Model, size: Size | None) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    width, height = model.fixed_size or size or model.metadata.train_size or _USUAL_SIZE
    shape = (height, width, model.metadata.network.in_channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _record_path(content: bytes, engines: Sequence[str], threads: int | None, size: Size | None) -> Path:
    parts = [
        hashlib.sha256(content).hexdigest(),
        str(threads),
        str(size),
        platform.node(),
        platform.processor(),
        _processor(),
    ]
    for name in engines:
        try:
            parts.append(f"{name} {metadata.version(_PACKAGES[name][1])}")
        except metadata.PackageNotFoundError:
            parts.append(name)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return cache_folder() / "engines" / f"{key}.json"


def cache_folder() -> Path:
    """Where small things are remembered: $FLEETSEG_CACHE, else below $XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("FLEETSEG_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleetseg"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")


def _remembered(record: Path, engines: Sequence[str]) -> str | None:
    try:
        found = json.loads(record.read_text()).get("engine")
    except (OSError, ValueError, AttributeError):
        return None
    return found if found in engines else None
