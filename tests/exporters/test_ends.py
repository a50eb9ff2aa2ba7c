"""What stands around a network in an exported file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fleetseg.exporters.ends import ArgMax, ArithmeticArgMax, WithEnds
from fleetseg.metadata import Normalisation


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_arg_max_by_arithmetic_is_arg_max_ties_included(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    for logits in (
        torch.randn(2, classes, 6, 7, generator=generator),
        torch.randint(0, 2, (2, classes, 6, 7), generator=generator).float(),
        torch.zeros(1, classes, 3, 3),
        torch.full((1, classes, 3, 3), -1e30) * torch.randn(1, classes, 3, 3, generator=generator),
    ):
        expected = ArgMax()(logits)
        assert expected.dtype == torch.uint8
        assert torch.equal(ArithmeticArgMax(classes)(logits)[:, 0], expected.float())


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalisation_inside_is_normalisation_outside(order: str) -> None:
    normalisation = Normalisation(order=order, mean=(1, 2, 3), std=(4, 5, 6), scale=2)
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = normalisation.apply(image)
    inside = WithEnds(torch.nn.Identity(), normalisation)(torch.from_numpy(image[None])).numpy()
    np.testing.assert_allclose(inside, expected, rtol=1e-6, atol=1e-6)
    levels = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    planar = WithEnds(torch.nn.Identity(), normalisation, channels_last=False)(levels).numpy()
    np.testing.assert_array_equal(planar, inside)


def test_resizing_inside_keeps_a_plain_image_plain() -> None:
    normalisation = Normalisation(mean=(0, 0, 0), std=(1, 1, 1))
    module = WithEnds(torch.nn.Identity(), normalisation, size=(6, 4))
    image = torch.full((1, 9, 13, 3), 77, dtype=torch.uint8)
    assert torch.equal(module(image), torch.full((1, 3, 4, 6), 77.0))
