"""PNG files in memory, made for speed: the service's answers."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.labels import LabelSet

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: PNG's row filter that stores the difference to the row above; class maps are nearly all zeros then.
_UP = 2
#: PNG's colour types.
_GREY, _INDEXED = 0, 3


def encode_mask(mask: npt.NDArray[np.uint8], labels: LabelSet | None = None) -> bytes:
    """(H, W) class ids → an indexed PNG whose palette shows the classes, or a grey one without `labels`.

    Reading either gives the ids; browsers, which give colours only, need the grey one.
    Run lengths of differences between rows: about 1 ms for 640×360, where general settings take several.
    """
    height, width = mask.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = mask[0]
    np.subtract(mask[1:], mask[:-1], out=rows[1:, 1:])
    deflate = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    data = deflate.compress(rows.data) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, _GREY if labels is None else _INDEXED, 0, 0, 0)
    palette = b"" if labels is None else _chunk(b"PLTE", labels.colour_table().tobytes())
    return _SIGNATURE + _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def encode_picture(picture: npt.NDArray[np.uint8]) -> bytes:
    """(H, W) grey or (H, W, 3) RGB uint8 → PNG bytes."""
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    _, content = cv2.imencode(".png", stored, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    return bytes(content)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
