"""Both ways of asking what is near against the distance between all pairs of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from fleetseg.metrics.nearness import ClassPixels, nearer_than


def distances(where: np.ndarray) -> np.ndarray:
    """Of each pixel to the nearest true one."""
    rows, columns = np.nonzero(where)
    y, x = np.indices(where.shape)
    return np.hypot(y[..., None] - rows, x[..., None] - columns).min(axis=2, initial=np.inf)


@pytest.mark.parametrize("width", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("limit", [1, 2, 8, 16, 64])
def test_nearer_than_is_euclidean_over_the_borders_of_words(width: int, limit: int) -> None:
    where = np.random.default_rng(width).random((37, width)) < 0.003
    where[20, width // 2] = True
    assert (nearer_than(limit, where) == (distances(where) < limit)).all()
    assert not nearer_than(limit, np.zeros_like(where)).any()


@pytest.mark.parametrize("num_classes", [3, 20, 40, 150])
@pytest.mark.parametrize("radius", [0.6, 1.0, 4.7, 17.2])
def test_the_same_class_nearby(num_classes: int, radius: float) -> None:
    rng = np.random.default_rng(num_classes)
    masks = [rng.integers(0, num_classes + 1, (33, 50)).astype(np.uint8) for _ in range(2)]
    places = [rng.random((33, 50)) < 0.2 for _ in range(2)]
    one, other = (ClassPixels(where, mask, num_classes) for where, mask in zip(places, masks, strict=True))
    found = np.zeros(masks[0].size, bool)
    found[one.positions] = one.near(other, radius)
    wanted = np.zeros((33, 50), bool)
    for class_id in range(num_classes):
        wanted |= places[0] & (masks[0] == class_id) & (distances(places[1] & (masks[1] == class_id)) <= radius)
    assert (found.reshape(33, 50) == wanted).all()
    assert len(one.positions) == (places[0] & (masks[0] < num_classes)).sum()
