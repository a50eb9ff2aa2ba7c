"""PNG bytes made in memory are what other programs read."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fleetseg.labels import CAMVID_11
from fleetseg.png import encode_mask, encode_picture


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_masks_come_back(height: int, width: int, values: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, values, (height, width), dtype=np.uint8)
    grey = Image.open(io.BytesIO(encode_mask(mask)))
    indexed = Image.open(io.BytesIO(encode_mask(mask, CAMVID_11)))
    assert (grey.mode, indexed.mode) == ("L", "P")
    for image in (grey, indexed):
        np.testing.assert_array_equal(np.array(image), mask)
    np.testing.assert_array_equal(np.array(indexed.convert("RGB")), CAMVID_11.colour_table()[mask])
    # Another decoder, which checks the check sums, too.
    read = cv2.imdecode(np.frombuffer(encode_mask(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (7, 5)])
def test_pictures_come_back(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(encode_picture(picture)))), picture)
