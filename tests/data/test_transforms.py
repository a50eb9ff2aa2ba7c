"""Augmentation: image and mask stay together, labels stay labels, everything comes from the generator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fleetseg.data.transforms import (
    AVERAGE_BELOW,
    BORDER_COLOUR,
    Augmentation,
    jitter_colour,
    paste_rectangle,
    scaled_crop,
)
from fleetseg.labels import IGNORE_INDEX

Pixels = npt.NDArray[np.uint8]

#: Grey value of each label in `coded`: apart from each other and from the border's colour.
GREY = np.array([0, 60, 180, 240], np.uint8)


def coded(height: int, width: int, block: int = 24, seed: int = 0) -> tuple[Pixels, Pixels]:
    """Random blocks of four labels; a pixel's grey value tells its label."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 4, (-(-height // block), -(-width // block)), dtype=np.uint8)
    mask = np.kron(blocks, np.ones((block, block), np.uint8))[:height, :width]
    return np.repeat(GREY[mask][..., None], 3, axis=2), mask


def labels_seen(image: Pixels) -> npt.NDArray[np.int64]:
    """The label whose grey value is nearest, for every pixel."""
    return np.abs(image[..., :1].astype(int) - GREY.astype(int)).argmin(axis=2)


def shift_between(image: Pixels, mask: Pixels) -> tuple[float, float]:
    """(x, y) offset in pixels of the image's edges against the mask's, averaged over the edges of each axis.

    Where a mask's row steps from one label to another, the image's values tell the edge's place to a fraction of
    a pixel: the mean step position of the image minus that of the mask.
    """

    def along_rows(values: npt.NDArray[np.float64], labels: Pixels) -> float:
        offsets = []
        for row, line in zip(values, labels, strict=True):
            for edge in np.flatnonzero(line[1:] != line[:-1]):
                window = slice(edge - 3, edge + 5)
                pair = line[window]
                if edge < 3 or len(pair) < 8 or len(set(pair)) != 2 or IGNORE_INDEX in pair:
                    continue
                low, high = float(GREY[pair[0]]), float(GREY[pair[-1]])
                if (pair[:4] != pair[0]).any() or (pair[4:] != pair[-1]).any():
                    continue
                # Pixels that still show the first label, minus the four that the mask gives it.
                offsets.append(((row[window] - high) / (low - high)).sum() - 4)
        assert len(offsets) > 100
        return float(np.mean(offsets))

    grey = image[..., 0].astype(np.float64)
    return along_rows(grey, mask), along_rows(grey.T, mask.T)


def crop(image: Pixels, mask: Pixels, size: tuple[int, int], scale: float, seed: int = 1) -> tuple[Pixels, Pixels]:
    return scaled_crop(image, mask, size, scale, np.random.default_rng(seed))


@pytest.mark.parametrize("scale", [0.31, 0.47, 0.62, 0.79, 0.81, 0.93, 1.0, 1.37, 1.9])
def test_image_and_mask_are_not_shifted_against_each_other(scale: float) -> None:
    """Both code paths: averaging below `AVERAGE_BELOW`, one warp above."""
    shifts = []
    for seed in range(6):
        image, mask = coded(240, 320, block=23, seed=seed)
        shifts.append(shift_between(*crop(image, mask, (200, 150), scale, seed)))
    # The mask's own edges lie on whole pixels, so single windows are off by up to half a pixel either way.
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.12
    assert np.abs(shifts).max() < 0.5


def test_both_code_paths_show_the_same_window() -> None:
    """Just below and just above the threshold the same draw gives nearly the same picture."""
    image, mask = coded(240, 320)
    below = crop(image, mask, (120, 90), AVERAGE_BELOW - 1e-6)
    above = crop(image, mask, (120, 90), AVERAGE_BELOW)
    assert np.abs(below[0].astype(int) - above[0].astype(int)).mean() < 4
    np.testing.assert_array_equal(below[1], above[1])


@pytest.mark.parametrize("scale", [0.37, 0.75, 0.85, 1.0, 1.6])
def test_colours_tell_the_labels_inside_the_blocks(scale: float) -> None:
    image, mask = coded(300, 400, block=40)
    result, labels = crop(image, mask, (160, 120), scale)
    seen = labels_seen(result)
    assert (seen == labels)[labels != IGNORE_INDEX].mean() > 0.93


def test_at_scale_one_the_window_is_exact() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    mask = rng.integers(0, 5, (40, 60), dtype=np.uint8)
    seen = set()
    for seed in range(20):
        result, labels = crop(image, mask, (24, 16), 1.0, seed)
        places = [
            (top, left)
            for top in range(25)
            for left in range(37)
            if np.array_equal(labels, mask[top : top + 16, left : left + 24])
        ]
        assert len(places) == 1
        top, left = places[0]
        np.testing.assert_array_equal(result, image[top : top + 16, left : left + 24])
        seen.add(places[0])
    assert len(seen) > 10


def test_a_window_as_large_as_the_image_is_the_image() -> None:
    image, mask = coded(36, 48)
    result, labels = Augmentation((48, 36))(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(result, image)
    np.testing.assert_array_equal(labels, mask)


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 1.5])
def test_beyond_the_image_is_border_colour_and_unlabelled(scale: float) -> None:
    image, mask = np.full((40, 40, 3), 250, np.uint8), np.full((40, 40), 3, np.uint8)
    result, labels = crop(image, mask, (120, 100), scale)
    assert set(np.unique(labels)) == {3, IGNORE_INDEX}
    inside = labels == 3
    assert inside.sum() == pytest.approx((40 * scale) ** 2, rel=0.08)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    far = np.ones(labels.shape, bool)  # more than a pixel away from the image
    far[max(0, rows[0] - 2) : rows[-1] + 3, max(0, columns[0] - 2) : columns[-1] + 3] = False
    assert (result[far] == BORDER_COLOUR).all()
    assert (labels[far] == IGNORE_INDEX).all()
    core = result[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
    assert (core == 250).all()


def test_labels_are_only_those_of_the_mask_or_unlabelled() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 4, 9, IGNORE_INDEX], np.uint8), (50, 70))
    augmentation = Augmentation((64, 64), (0.3, 2.5), flip=0.5, colour=0.5)
    for seed in range(40):
        _, labels = augmentation(image, mask, np.random.default_rng(seed))
        assert set(np.unique(labels)) <= {0, 4, 9, IGNORE_INDEX}


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (2, 200)])
def test_tiny_images_at_tiny_scales(shape: tuple[int, int]) -> None:
    image, mask = np.full((*shape, 3), 90, np.uint8), np.ones(shape, np.uint8)
    result, labels = Augmentation((16, 16), (0.05, 0.3))(image, mask, np.random.default_rng(0))
    assert (result.shape, labels.shape) == ((16, 16, 3), (16, 16))


def test_flip_keeps_image_and_mask_aligned() -> None:
    image, mask = coded(48, 64)
    result, labels = Augmentation((64, 48), flip=1.0)(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(result, image[:, ::-1])
    np.testing.assert_array_equal(labels, mask[:, ::-1])
    assert result.flags.c_contiguous and labels.flags.c_contiguous


def test_flip_happens_as_often_as_asked() -> None:
    image, mask = coded(24, 48)
    augmentation = Augmentation((48, 24), flip=0.25)
    flipped = sum(
        not np.array_equal(augmentation(image, mask, np.random.default_rng(seed))[1], mask) for seed in range(400)
    )
    assert 70 < flipped < 130


def test_scale_is_drawn_evenly_in_its_logarithm() -> None:
    """A square of 100 pixels becomes one of 100 × scale: half of the draws lie below the geometric mean."""
    image, mask = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)
    augmentation = Augmentation((420, 420), (0.25, 4.0))
    sides = []
    for seed in range(200):
        _, labels = augmentation(image, mask, np.random.default_rng(seed))
        sides.append(np.sqrt((labels == 0).sum()))
    assert min(sides) >= 24 and max(sides) <= 401
    assert 70 < sum(side < 100 for side in sides) < 130


def test_the_same_generator_gives_the_same_sample() -> None:
    image, mask = coded(60, 80)
    augmentation = Augmentation((48, 32), (0.5, 1.5), flip=0.5, colour=0.4)
    one, other, third = (augmentation(image, mask, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one[0], third[0])


def test_the_inputs_are_left_alone() -> None:
    image, mask = coded(60, 80)
    before = image.copy(), mask.copy()
    Augmentation((48, 32), (0.5, 1.5), flip=1.0, colour=1.0)(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_colour_changes_the_image_alone_and_by_its_strength() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def change(strength: float) -> float:
        results = [jitter_colour(image, strength, np.random.default_rng(seed)) for seed in range(20)]
        return float(np.mean([np.abs(result.astype(int) - image).mean() for result in results]))

    assert change(1e-9) == 0
    assert 3 < change(0.1) < change(0.3) < change(0.8)


def test_grey_stays_grey_but_for_the_tint() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    result = jitter_colour(grey, 0.3, np.random.default_rng(2)).astype(int)
    assert (np.diff(result, axis=1) >= 0).all()
    assert np.abs(result.max(axis=2) - result.min(axis=2)).max() < 60


def rare_pixel_mask() -> np.ndarray:
    """One pixel of class 1 in the corner of a large class 0, and an unlabelled row."""
    mask = np.zeros((60, 80), np.uint8)
    mask[59, 79] = 1
    mask[0] = IGNORE_INDEX
    return mask


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.5), (0.7, 1.6), (0.2, 0.3)])
def test_balanced_crops_show_a_rare_class_as_often_as_a_common_one(scale: tuple[float, float]) -> None:
    """Half of the crops are laid around the only pixel of class 1; others see it by chance, rarely."""
    mask = rare_pixel_mask()
    image = np.repeat(mask[..., None], 3, axis=2)
    found = {}
    for balance in (0.0, 1.0):
        augmentation = Augmentation((16, 12), scale, balance=balance)
        crops = [augmentation(image, mask, np.random.default_rng(seed))[1] for seed in range(200)]
        found[balance] = sum(bool((crop == 1).any()) for crop in crops)
    if scale == (1.0, 1.0):
        assert found[0.0] <= 5 and 80 <= found[1.0] <= 120
    assert found[1.0] >= found[0.0]


def test_the_focus_lies_inside_the_window() -> None:
    """Whatever the scale: a class of one large block is found in every crop around it."""
    mask = np.zeros((60, 80), np.uint8)
    for column, row in ((0, 0), (72, 0), (0, 52), (72, 52), (36, 30)):
        block = mask.copy()
        block[row : row + 8, column : column + 8] = 1
        image = np.repeat(block[..., None], 3, axis=2)
        for seed in range(40):
            rng = np.random.default_rng(seed)
            scale = float(rng.uniform(0.4, 2))
            _, crop = scaled_crop(image, block, (24, 20), scale, rng, (column + 4, row + 4))
            assert (crop == 1).any()


def test_an_unlabelled_image_has_no_pixel_to_balance() -> None:
    mask = np.full((30, 40), IGNORE_INDEX, np.uint8)
    augmentation = Augmentation((16, 16), balance=1.0)
    assert (augmentation(np.zeros((30, 40, 3), np.uint8), mask, np.random.default_rng(0))[1] == IGNORE_INDEX).all()


@pytest.mark.parametrize(("height", "width"), [(40, 60), (3, 50), (1, 1)])
def test_a_pasted_rectangle_is_one_block_of_image_and_labels(height: int, width: int) -> None:
    shares = []
    for seed in range(60):
        sample = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        other = np.full((height, width, 3), 7, np.uint8), np.full((height, width), 2, np.uint8)
        paste_rectangle(sample, other, np.random.default_rng(seed))
        assert np.array_equal(sample[0], np.repeat(sample[1][..., None] // 2 * 7, 3, axis=2))
        rows, columns = np.flatnonzero(sample[1].any(1)), np.flatnonzero(sample[1].any(0))
        assert (sample[1][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 2).all()
        shares.append((sample[1] == 2).mean())
    if height * width > 1000:
        assert 0.08 < min(shares) < 0.2 and 0.4 < max(shares) < 0.52
