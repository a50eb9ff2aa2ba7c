"""Parts of the compared networks against PyTorch's own layers and against what their papers say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fleetseg.errors import UsageError
from fleetseg.models import build_network
from fleetseg.models.adaptive_pooling import AdaptiveAveragePool, cell_means
from fleetseg.models.bilinear import bilinear_deconv
from fleetseg.models.biopsy_mehta import AFTER, BEFORE
from fleetseg.models.blocks import MaxUnpool2x2
from fleetseg.models.lrr import cosine_basis
from fleetseg.models.segnet import PoolRoundingUp
from fleetseg.models.widths import scaled

Build = Callable[..., Any]


@settings(max_examples=20)
@given(height=st.integers(1, 20), width=st.integers(1, 20), bins=st.integers(1, 8))
def test_adaptive_pooling_as_matrices(height: int, width: int, bins: int) -> None:
    x = torch.randn(1, 2, height, width)
    rows, columns = cell_means(bins, height), cell_means(bins, width)
    torch.testing.assert_close(rows @ x @ columns.t(), F.adaptive_avg_pool2d(x, bins))


def test_pools_of_a_fraction_have_a_cell_at_least() -> None:
    pool = AdaptiveAveragePool(fraction=(3, 8))
    assert pool(torch.ones(1, 1, 64, 1)).shape[2:] == (24, 1)


@settings(max_examples=20)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 1000))
def test_pooling_that_rounds_up_as_caffe_does(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Few different values: ties and windows of zeros are common.
    x = torch.randint(0, 3, (1, 2, height, width), generator=generator).float()
    pooled, place = PoolRoundingUp()(x)
    expected, indices = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    assert torch.equal(pooled, expected)
    values = torch.rand(pooled.shape, generator=generator) + 1
    unpooled = MaxUnpool2x2()(values, place)[..., :height, :width]
    assert torch.equal(unpooled, F.max_unpool2d(values, indices, 2, 2, output_size=x.shape[2:]))


def test_bilinear_weights_interpolate() -> None:
    x = torch.randn(1, 3, 6, 7)
    for factor, padding in ((2, 1), (8, 4)):
        enlarged = bilinear_deconv(3, factor, padding)(x)
        expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        inside = (..., slice(factor, -factor), slice(factor, -factor))
        torch.testing.assert_close(enlarged[inside], expected[inside])


def test_the_first_basis_function_of_lrr_is_bilinear_enlargement() -> None:
    basis = cosine_basis()
    x = torch.randn(1, 1, 5, 6)
    enlarged = F.conv_transpose2d(x, basis[:1, None], stride=4, padding=2)
    expected = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])
    assert basis.shape == (10, 8, 8)
    assert torch.linalg.matrix_rank(basis.flatten(1)) == 10


def test_widths() -> None:
    assert [scaled(channels, 1.0) for channels in (64, 96, 4096)] == [64, 96, 4096]
    assert [scaled(channels, 1 / 16) for channels in (16, 64, 4096)] == [4, 4, 256]


def test_published_and_aligned_fcn_load_each_others_weights(random_network: Build) -> None:
    aligned, published = (random_network("fcn-8s", 3, seed=index, published=bool(index)) for index in (0, 1))
    published.load_state_dict(aligned.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert published(image).shape == aligned(image).shape
    fixed = {key for key, value in aligned.named_parameters() if not value.requires_grad}
    assert fixed == {"up7.weight", "up4.weight", "up3.weight"}


def test_dilation_starts_as_the_front_end_alone() -> None:
    network = build_network("dilation-8-basic", 3, width=1 / 16).eval()
    nn.init.normal_(network.final.weight)
    with torch.no_grad():
        scores = torch.rand(1, 3, 5, 7)
        torch.testing.assert_close(network.context(scores), scores)


def test_large_context_starts_near_the_identity() -> None:
    network = build_network("dilation-8", 3, width=1 / 16).eval()
    with torch.no_grad():
        scores = torch.rand(1, 3, 40, 40)
        inside = (..., slice(15, 25), slice(15, 25))
        # Layers with c times the classes pass each class on c times, weighted 1/c, to be summed again at the end.
        ratio = network.context(scores)[inside].mean() / scores[inside].mean()
    assert 0.01 < ratio < 10


def test_unpadded_dilation_sees_a_reflected_border(random_network: Build) -> None:
    network = random_network("dilation-8-basic", 2, padded=False, width=1 / 64)
    with torch.no_grad():
        assert network(torch.randn(1, 3, 190, 187)).shape == (1, 2, 190, 187)
    with pytest.raises(UsageError, match=r"an image of 48×32 cannot be extended by 186 reflected pixels"):
        network(torch.randn(1, 3, 32, 48))


def test_deeplab_takes_the_largest_logit_of_three_scales(random_network: Build) -> None:
    network = random_network("deeplab-v2", 3)
    single = random_network("deeplab-v2", 3, multi_scale=False)
    single.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        smaller = [F.interpolate(image, size=size, mode="bilinear") for size in ((24, 48), (16, 32))]
        maps = [single.scores(one) for one in (image, *smaller)]
        enlarged = [F.interpolate(one, size=(4, 8), mode="bilinear") for one in maps]
        expected = F.interpolate(torch.stack(enlarged).amax(0), size=(32, 64), mode="bilinear")
        torch.testing.assert_close(network(image), expected)


def test_pspnets_auxiliary_head_counts_less(random_network: Build) -> None:
    network = random_network("pspnet", 3, auxiliary=True)
    image = torch.randn(2, 3, 32, 32)
    (main, share), (side, less) = network.training_logits(image)
    assert (share, less) == (1.0, 0.4)
    assert main.shape == side.shape == (2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(main, network(image))


def test_refinenets_two_poolings_differ(random_network: Build) -> None:
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first, second = (random_network("refinenet-50", 3, improved_pooling=flag)(images) for flag in (False, True))
    assert not torch.allclose(first, second)


def test_masks_of_lrr_are_where_classes_meet(random_network: Build) -> None:
    mask = random_network("lrr-4x", 2).mask
    logits = torch.zeros(1, 2, 8, 40)
    logits[:, 0, :, :20], logits[:, 1, :, 20:] = 20.0, 20.0
    border = mask(logits)[0, 0, 4]
    assert border[20] > 0.99
    assert border[:15].max() < 0.01
    assert border[26:].max() < 0.01


def test_mehta_sees_surroundings_that_are_known(random_network: Build) -> None:
    network = random_network("biopsy-mehta", 3)
    around = torch.randn(1, 3, 32 + BEFORE + AFTER, 64 + BEFORE + AFTER)
    image = around[..., BEFORE:-AFTER, BEFORE:-AFTER]
    repeated = F.pad(image, (BEFORE, AFTER, BEFORE, AFTER), mode="replicate")
    with torch.no_grad():
        known, unknown = network.inside(around), network(image)
        assert known.shape == unknown.shape == (1, 3, 32, 64)
        assert not torch.allclose(known, unknown)
        torch.testing.assert_close(network.inside(repeated), unknown)


def test_erfnet_takes_over_what_stage_1_trained(random_network: Build) -> None:
    network, encoder = random_network("erfnet", 4, seed=1), random_network("erfnet-encoder", 4, seed=2)
    network.load_encoder(encoder)
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        assert torch.equal(network.encoder(image), encoder.encoder(image))
    with pytest.raises(TypeError, match="has no separate encoder to load SegNet into"):
        network.load_encoder(random_network("segnet", 4))
