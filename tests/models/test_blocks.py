"""Max-pooling with places and its inverse: PyTorch's own pair, ties included, is the measure."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fleetseg.models.blocks import BATCH_NORM_EPS, MaxPool2x2, MaxUnpool2x2, NormAct, activation, batch_norm

halves = st.integers(1, 9)


def tied(seed: int, height: int, width: int, levels: int, channels_last: bool) -> Tensor:
    """(2, 3, 2·height, 2·width) whole numbers after a ReLU: most windows hold equal maxima, many are all zero."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-levels, levels + 1, (2, 3, 2 * height, 2 * width), generator=generator)
    x = values.float().relu()
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def torch_pair(x: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    return pooled, F.max_unpool2d(small, indices, 2)


def our_pair(x: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
    pooled, place = MaxPool2x2()(x)
    return pooled, MaxUnpool2x2()(small, place)


@given(seed=st.integers(0, 2**31), height=halves, width=halves, levels=st.integers(0, 3), channels_last=st.booleans())
def test_exactly_torchs_pool_and_unpool(seed: int, height: int, width: int, levels: int, channels_last: bool) -> None:
    x = tied(seed, height, width, levels, channels_last)
    small = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    for ours, theirs in zip(our_pair(x, small), torch_pair(x, small), strict=True):
        assert torch.equal(ours, theirs)


@given(seed=st.integers(0, 2**31), height=halves, width=halves, levels=st.integers(0, 3), channels_last=st.booleans())
def test_exactly_torchs_gradients(seed: int, height: int, width: int, levels: int, channels_last: bool) -> None:
    gradients = []
    for pair in (our_pair, torch_pair):
        x = tied(seed, height, width, levels, channels_last).requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        small = torch.randn(2, 3, height, width, generator=generator).requires_grad_()
        pooled, spread = pair(x, small)
        weights = [torch.randn(output.shape, generator=generator) for output in (pooled, spread)]
        loss = (pooled * weights[0]).sum() + (spread * weights[1]).sum()
        gradients.append(torch.autograd.grad(loss, (x, small)))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.equal(ours, theirs)


def test_a_tie_belongs_to_the_first_in_row_major_order() -> None:
    x = torch.tensor([[5.0, 5.0, 0.0, 7.0], [5.0, 5.0, 7.0, 7.0]])[None, None]
    pooled, place = MaxPool2x2()(x)
    assert pooled.flatten().tolist() == [5, 7]
    # Of each window: top left, top right, bottom left, bottom right.
    assert place[0, 0, :, 0, 0].tolist() == [True, False, False, False]
    assert place[0, 0, :, 0, 1].tolist() == [False, True, False, False]
    assert MaxUnpool2x2()(pooled, place)[0, 0].tolist() == [[5, 0, 0, 7], [0, 0, 0, 0]]


def test_one_place_is_true_even_without_numbers() -> None:
    x = torch.tensor([float("nan"), 1.0, -float("inf"), float("inf")])[torch.randint(4, (1, 2, 8, 8))]
    _, place = MaxPool2x2()(x)
    assert (place.sum(dim=2) == 1).all()


def test_bf16() -> None:
    x = tied(1, 4, 4, 2, False).bfloat16()
    pooled, place = MaxPool2x2()(x)
    assert MaxUnpool2x2()(pooled, place).dtype == torch.bfloat16


def test_norm_and_activation() -> None:
    block = NormAct(3)
    assert [type(module) for module in block] == [nn.BatchNorm2d, nn.PReLU]
    assert block[0].eps == BATCH_NORM_EPS == batch_norm(1).eps == 1e-3
    assert block[1].weight.tolist() == [0.25] * 3
    assert isinstance(activation("relu", 3), nn.ReLU)
    with pytest.raises(ValueError, match="activation 'elu' is not known; use 'prelu' or 'relu'"):
        activation("elu", 3)
