"""From the bytes of an image to the bytes of an answer, in one worker's thread."""

from __future__ import annotations

import base64
import json
import struct
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fleetseg.image import decode_image, overlay, with_legend
from fleetseg.png import encode_mask, encode_picture
from fleetseg.web.served_model import ServedModel

Format = Literal["mask", "overlay", "json"]


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    format: Format = "mask"
    engine: str = "auto"
    opacity: float = 0.5
    legend: bool = True
    #: With JSON: class map and confidence inside it, as data URLs.
    maps: bool = False
    confidence: bool = False


@dataclass(frozen=True)
class Segmented:
    """One segmented image."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None
    #: JSON answers begin with this; keys as in `fleetseg predict --json`.
    facts: dict[str, Any]
    #: Seconds of each stage so far, by its name in the metrics.
    seconds: dict[str, float]

    def shares(self, served: ServedModel) -> dict[str, float]:
        """Part of the pixels (0–1) of each class; who wants the mask alone need not wait for it to be counted."""
        classes = served.metadata.classes
        counts = np.bincount(self.mask.ravel(), minlength=len(classes))
        return {name: round(float(n) / self.mask.size, 6) for name, n in zip(classes, counts, strict=False)}


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    content: bytes
    media_type: str
    facts: dict[str, Any]
    seconds: dict[str, float]


def segment(content: bytes, served: ServedModel, wanted: Wanted, max_pixels: int, alone: bool) -> Segmented:
    """Decode and segment; `ImageError` and `Problem` as `decode_image` and `ServedModel.choose`."""
    times = [time.perf_counter()]
    image = decode_image(content, most_pixels=max_pixels)
    times.append(time.perf_counter())
    height, width = image.shape[:2]
    lanes, seen = served.choose((width, height), wanted.engine)
    certainty = None
    with lanes.lend(alone) as model:
        if wanted.confidence:
            mask, plane = model.predict_with_confidence(image, seen)
            certainty = np.rint(plane * 255).astype(np.uint8)
        else:
            mask = model.predict(image, seen)
        engine = model.engine
    times.append(time.perf_counter())
    facts = {
        "model": served.name,
        "engine": engine,
        "width": width,
        "height": height,
        "network_size": list(seen),
        "latency_ms": round(1000 * (times[2] - times[1]), 3),
    }
    return Segmented(image, mask, certainty, facts, {"decode": times[1] - times[0], "network": times[2] - times[1]})


def answer(content: bytes, served: ServedModel, wanted: Wanted, max_pixels: int, alone: bool) -> Answer:
    """The whole work of ``POST /v1/segment``."""
    result = segment(content, served, wanted, max_pixels, alone)
    started = time.perf_counter()
    body, media_type = _encoded(result, served, wanted)
    seconds = {**result.seconds, "encode": time.perf_counter() - started}
    return Answer(body, media_type, result.facts, seconds)


def stream_answer(
    content: bytes, served: ServedModel, wanted: Wanted, max_pixels: int, alone: bool, frame: int
) -> Answer:
    """A frame's answer: length of the JSON (4 bytes, little-endian), JSON, class map and, if asked for, confidence.

    Both are grey PNGs. The JSON says how long the class map is (`mask_bytes`).
    """
    result = segment(content, served, wanted, max_pixels, alone)
    started = time.perf_counter()
    mask = encode_mask(result.mask)
    certainty = b"" if result.confidence is None else encode_picture(result.confidence)
    facts = {"frame": frame, **result.facts, "shares": result.shares(served), "mask_bytes": len(mask)}
    head = json.dumps(facts, allow_nan=False).encode()
    seconds = {**result.seconds, "encode": time.perf_counter() - started}
    body = struct.pack("<I", len(head)) + head + mask + certainty
    return Answer(body, "application/octet-stream", facts, seconds)


def _encoded(result: Segmented, served: ServedModel, wanted: Wanted) -> tuple[bytes, str]:
    labels = served.metadata.labels
    if wanted.format == "mask":
        return encode_mask(result.mask, labels), "image/png"
    if wanted.format == "overlay":
        picture = overlay(result.image, result.mask, labels, wanted.opacity)
        if wanted.legend:
            picture = with_legend(picture, labels, list(result.shares(served).values()))
        return encode_picture(picture), "image/png"
    facts = {**result.facts, "shares": result.shares(served)}
    if wanted.maps:
        facts["mask"] = _data_url(encode_mask(result.mask))
        assert result.confidence is not None
        facts["confidence"] = _data_url(encode_picture(result.confidence))
    return json.dumps(facts, allow_nan=False).encode(), "application/json"


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
