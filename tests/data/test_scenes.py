"""The built-in scene generator: deterministic, well-formed, every class often enough to learn it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from fleetseg.data.scenes import render_scene

UNLABELLED = 255
SEEDS = 40
#: Classes that are in (nearly) every street, and the share of scenes the rare ones must be in.
COMMON = {"sky": 0, "building": 1, "road": 3, "pavement": 4, "tree": 5, "car": 8}
RARE = {"pole": 2, "sign": 6, "fence": 7, "pedestrian": 9, "bicyclist": 10}


@lru_cache(maxsize=1)
def masks() -> npt.NDArray[np.uint8]:
    """Masks of the first seeds at half size, (SEEDS, 180, 240)."""
    return np.stack([render_scene(seed, 240, 180)[1] for seed in range(SEEDS)])


def share_of_scenes(class_id: int, least_pixels: int = 12) -> float:
    counts = (masks() == class_id).sum((1, 2))
    return float((counts >= least_pixels).mean())


def test_same_seed_gives_same_bytes() -> None:
    image, mask = render_scene(11)
    # Scenes in between must leave no trace: nothing is drawn from a shared generator.
    render_scene(12, 64, 48)
    np.random.seed(0)
    again, mask_again = render_scene(11)
    assert image.tobytes() == again.tobytes()
    assert mask.tobytes() == mask_again.tobytes()


def test_different_seeds_differ() -> None:
    shrunk = masks()[:, ::12, ::12]
    same = np.array([[(a == b).mean() for b in shrunk] for a in shrunk])
    assert same[~np.eye(SEEDS, dtype=bool)].max() < 0.95


SIZES = [(480, 360), (32, 32), (33, 47), (513, 257), (64, 200), (720, 99)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_any_size_is_well_formed(width: int, height: int) -> None:
    for seed in (0, 1, 5):
        image, mask = render_scene(seed, width, height)
        assert image.shape == (height, width, 3)
        assert mask.shape == (height, width)
        assert image.dtype == mask.dtype == np.uint8
        labels = set(np.unique(mask).tolist())
        assert labels <= {*range(11), UNLABELLED}
        assert image.std() > 5


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        render_scene(0, 31, 40)


@pytest.mark.parametrize("name", COMMON)
def test_common_classes_are_nearly_everywhere(name: str) -> None:
    assert share_of_scenes(COMMON[name], 40) >= 0.9


@pytest.mark.parametrize("name", RARE)
def test_rare_classes_are_in_most_scenes(name: str) -> None:
    assert share_of_scenes(RARE[name]) >= 0.8


def test_road_is_low_and_sky_is_high() -> None:
    rows = np.arange(masks().shape[1])[None, :, None]
    is_road, is_sky = masks() == 3, masks() == 0
    assert (rows * is_road).sum() / is_road.sum() > 1.3 * (rows * is_sky).sum() / is_sky.sum()
    assert is_road[:, 140:160, 80:160].mean() > 0.6


def test_little_is_unlabelled() -> None:
    unlabelled = (masks() == UNLABELLED).mean((1, 2))
    assert 0 < unlabelled.mean() < 0.03
    assert unlabelled.max() < 0.1
