"""An image of 20,000 × 20,000 pixels is labelled in less than 1.5 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.app.huge.conftest import clouds

SIDE, TILE = 20_000, 512


def largest_resident_set(words: list[str]) -> int:
    """Bytes, of a process that must succeed."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_memory_of_a_huge_image(colour_onnx: Path, tmp_path: Path, name: str) -> None:
    tile = clouds(TILE, TILE)
    if name == "a.tif":
        options = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "jpeg", "metadata": None}
        tiles = (tile for _ in range((-(-SIDE // TILE)) ** 2))
        tifffile.imwrite(tmp_path / name, tiles, shape=(SIDE, SIDE, 3), dtype=np.uint8, **options)
    else:
        # Streamed into a copy; one bit a pixel is quickly written.
        Image.fromarray(np.tile(tile[..., 0] > 127, (40, 40))[:SIDE, :SIDE]).save(tmp_path / name)
    words = [sys.executable, "-m", "fleetseg", "predict", str(colour_onnx), str(tmp_path / name)]
    words += ["--out", str(tmp_path / "o"), "--window", "1024x1024", "--threads", "1"]
    assert largest_resident_set(words) < 1.5e9
    with tifffile.TiffFile(tmp_path / "o" / "a_labels.tif") as file:
        assert [level.shape for level in file.series[0].levels][:2] == [(SIDE, SIDE), (SIDE // 2, SIDE // 2)]
        if name == "a.tif":
            labels = next(file.series[0].levels[0].pages[0].segments())[0].reshape(TILE, TILE)
            assert (labels == tile.argmax(axis=2)).mean() > 0.9
