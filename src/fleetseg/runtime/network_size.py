"""The size at which a network should see an image: near the one it was trained on."""

from __future__ import annotations

import math

from fleetseg.image import check_size

#: Sizes are rounded to this, because networks pad to it anyway.
MULTIPLE = 8


def training_like_size(own: tuple[int, int], train: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of about as many pixels as `train`, with the aspect ratio of `own`, in multiples of 8.

    Objects then have about the size that the network knows. An image of the training size stays as it is, and
    so does every image if the training size is unknown.
    """
    width, height = check_size(own)
    if train is None or own == train:
        return own
    scale = math.sqrt(train[0] * train[1] / (width * height))
    return _rounded(width * scale), _rounded(height * scale)


def _rounded(length: float) -> int:
    return max(1, round(length / MULTIPLE)) * MULTIPLE
