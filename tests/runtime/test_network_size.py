"""The size that a network sees by default."""

from __future__ import annotations

import pytest

from fleetseg.errors import UsageError
from fleetseg.runtime.network_size import training_like_size


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((480, 360), (480, 360)),
        ((960, 720), (480, 360)),
        ((3840, 2160), (552, 312)),
        ((2160, 3840), (312, 552)),
        ((100, 75), (480, 360)),
        ((1, 1), (416, 416)),
        ((5000, 1), (29392, 8)),
    ],
)
def test_pixels_of_the_training_size_in_the_images_proportions(own: tuple[int, int], expected: tuple[int, int]) -> None:
    assert training_like_size(own, (480, 360)) == expected


def test_training_size_that_is_no_multiple_of_8_is_kept() -> None:
    assert training_like_size((333, 77), (333, 77)) == (333, 77)


def test_unknown_training_size_leaves_the_image_alone() -> None:
    assert training_like_size((3841, 2161), None) == (3841, 2161)


def test_empty_image() -> None:
    with pytest.raises(UsageError, match="0×5 is empty"):
        training_like_size((0, 5), (480, 360))
