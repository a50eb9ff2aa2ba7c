"""Pooling by arithmetic gives what comparisons give, to the last bit."""

from __future__ import annotations

import pytest
import torch

from fleetseg.models.blocks import MaxPool2x2, MaxUnpool2x2


def inputs(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (2, 5, 8, 12)
    if kind == "noise":
        return torch.randn(shape, generator=generator)
    if kind == "ties":
        return torch.randint(-1, 2, shape, generator=generator).float()
    if kind == "neighbours":  # as close as float32 can tell two numbers apart
        one = torch.ones(shape)
        return torch.where(torch.rand(shape, generator=generator) < 0.5, one, torch.nextafter(one, 2 * one))
    if kind == "tiny":
        return torch.randint(-1, 2, shape, generator=generator) * 2e-38
    if kind == "huge":
        return torch.randn(shape, generator=generator) * 1e37
    return torch.zeros(shape)


@pytest.mark.parametrize("kind", ["noise", "ties", "neighbours", "tiny", "huge", "zeros"])
def test_equals_the_comparisons(kind: str) -> None:
    x = inputs(kind)
    pool, unpool = MaxPool2x2(), MaxUnpool2x2()
    pooled, place = pool(x)
    value = torch.randn(pooled.shape)
    other_pooled, other_place = pool.by_arithmetic()(x)
    assert torch.equal(other_pooled, pooled)
    assert torch.equal(unpool.by_arithmetic()(value, other_place), unpool(value, place))
    windows = torch.nn.functional.pixel_unshuffle(other_place, 2).view(2, 5, 4, 4, 6)
    assert torch.equal(windows, place.float())
    assert torch.equal(windows.sum(2), torch.ones(2, 5, 4, 6))
