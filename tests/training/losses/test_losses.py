"""Each loss against values computed by hand, and what all of them promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fleetseg.labels import IGNORE_INDEX
from fleetseg.training.losses import Loss, build_loss
from fleetseg.training.losses.boundary import near_boundary
from fleetseg.training.losses.lovasz import jaccard_rises
from fleetseg.training.recipe_loss import TERM_OPTIONS, LossTerm

ONES = torch.ones(2)


def loss(name: str, **options: float) -> Loss:
    return build_loss((LossTerm.model_validate({"name": name, **options}),))


def logits_of(*probabilities: float) -> Tensor:
    """(1, 2, 1, W) logits that give class 1 these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack((torch.zeros_like(p), (p / (1 - p)).log())).float().view(1, 2, 1, -1)


def target_of(*classes: int) -> Tensor:
    return torch.tensor(classes).view(1, 1, -1)


#: Three labelled pixels whose own classes have the probabilities 0.8, 0.75 and 0.1, and an unlabelled one.
LOGITS = logits_of(0.8, 0.25, 0.1, 0.5)
TARGET = target_of(1, 0, 1, IGNORE_INDEX)
WEIGHTS = torch.tensor([2.0, 3.0])


def nll(probability: float) -> float:
    return -math.log(probability)


def test_cross_entropy() -> None:
    expected = (3 * nll(0.8) + 2 * nll(0.75) + 3 * nll(0.1)) / 8
    assert float(loss("cross-entropy")(LOGITS, TARGET, WEIGHTS)) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing() -> None:
    """ε = 0.2 of two classes: 0.1 of each class besides 0.8 of the pixel's own."""
    own = 3 * nll(0.8) + 2 * nll(0.75) + 3 * nll(0.1)
    each = sum(2 * nll(1 - p) + 3 * nll(p) for p in (0.8, 0.25, 0.1))
    expected = (0.8 * own + 0.1 * each) / 8
    value = loss("cross-entropy", label_smoothing=0.2)(LOGITS, TARGET, WEIGHTS)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_focal() -> None:
    expected = (3 * 0.2**2 * nll(0.8) + 2 * 0.25**2 * nll(0.75) + 3 * 0.9**2 * nll(0.1)) / 8
    assert float(loss("focal", gamma=2)(LOGITS, TARGET, WEIGHTS)) == pytest.approx(expected, rel=1e-5)
    plain = float(loss("cross-entropy")(LOGITS, TARGET, WEIGHTS))
    assert float(loss("focal", gamma=0)(LOGITS, TARGET, WEIGHTS)) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("threshold", "keep", "hard"),
    [(0.5, 0.01, [0.1]), (0.77, 0.01, [0.75, 0.1]), (0.05, 0.4, [0.75, 0.1]), (0.5, 1.0, [0.8, 0.75, 0.1])],
)
def test_ohem_counts_hard_pixels_and_at_least_a_share(threshold: float, keep: float, hard: list[float]) -> None:
    """0.4 of three pixels, rounded up, are two."""
    value = loss("ohem", threshold=threshold, keep=keep)(LOGITS, TARGET, ONES)
    assert float(value) == pytest.approx(sum(nll(p) for p in hard) / len(hard), rel=1e-5)


def test_dice() -> None:
    """Class 1: overlap 2·(0.8 + 0.1), extent 0.8 + 0.25 + 0.1 + 2; class 0: 2·0.75 and 0.2 + 0.75 + 0.9 + 1."""
    expected = 1 - (1.8 / 3.15 + 1.5 / 2.85) / 2
    assert float(loss("dice")(LOGITS, TARGET, WEIGHTS)) == pytest.approx(expected, rel=1e-5)


def test_dice_leaves_out_classes_that_do_not_occur() -> None:
    value = loss("dice")(logits_of(0.8, 0.6), target_of(1, 1), ONES)
    assert float(value) == pytest.approx(1 - 2.8 / 3.4, rel=1e-5)


def test_jaccard_rises() -> None:
    """Members at places 1 and 3 of four: 1 − IoU is 1/2, then 2/3 (a stranger is added), then 1, then 1."""
    rises = jaccard_rises(torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
    assert rises[0].tolist() == pytest.approx([1 / 2, 2 / 3 - 1 / 2, 1 / 3, 0])


def test_lovasz() -> None:
    """Class 1: errors 0.9 (member), 0.25, 0.2 (member), so rises 1/2, 1/6, 1/3. Class 0: 0.9, 0.25 (member), 0.2.

    For class 0, one member: after the stranger 1 − 1/2, with the member wrong 1.
    """
    one = 0.9 / 2 + 0.25 / 6 + 0.2 / 3
    zero = 0.9 / 2 + 0.25 / 2
    assert float(loss("lovasz")(LOGITS, TARGET, WEIGHTS)) == pytest.approx((one + zero) / 2, rel=1e-5)


def test_lovasz_of_certain_masks_is_one_minus_the_mean_iou() -> None:
    logits = torch.tensor([0, 0, 1, 1, 1]).float()
    logits = 200 * torch.stack((1 - logits, logits)).view(1, 2, 1, 5)
    value = loss("lovasz")(logits, target_of(0, 1, 1, 1, IGNORE_INDEX), ONES)
    assert float(value) == pytest.approx(1 - (1 / 2 + 2 / 3) / 2, rel=1e-5)


def test_near_boundary() -> None:
    row = [0, 0, 0, 0, 1, 1, IGNORE_INDEX, 0, 0]
    one = near_boundary(target_of(*row), 1)
    assert one.flatten().int().tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0]
    two = near_boundary(target_of(*row), 2)
    assert two.flatten().int().tolist() == [0, 0, 1, 1, 1, 1, 0, 1, 0]


def test_boundary() -> None:
    """Pixels 2 and 3 lie at the border; the weight of their class counts five times."""
    target = target_of(0, 0, 1, IGNORE_INDEX)
    expected = (2 * nll(0.2) + 10 * nll(0.75) + 15 * nll(0.1)) / 27
    value = loss("boundary", radius=1, factor=5)(LOGITS, target, WEIGHTS)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_a_sum_of_terms() -> None:
    terms = tuple(LossTerm.model_validate(one) for one in ({"name": "dice", "weight": 0.5}, {"name": "cross-entropy"}))
    parts = 0.5 * float(loss("dice")(LOGITS, TARGET, WEIGHTS)) + float(loss("cross-entropy")(LOGITS, TARGET, WEIGHTS))
    assert float(build_loss(terms)(LOGITS, TARGET, WEIGHTS)) == pytest.approx(parts, rel=1e-6)


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, 5, 6, 7, generator=generator)
    target = torch.randint(0, 5, (2, 6, 7), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE_INDEX
    return logits, target, torch.rand(5, generator=generator) + 0.5


@pytest.mark.parametrize("name", TERM_OPTIONS)
def test_unlabelled_pixels_give_no_gradient(name: str) -> None:
    logits, target, weights = random_case()
    changed = logits.clone()
    changed.transpose(1, 3).transpose(1, 2)[target == IGNORE_INDEX] *= -2
    values = []
    for one in (logits.requires_grad_(), changed.requires_grad_()):
        value = loss(name)(one, target, weights)
        value.backward()
        assert one.grad is not None
        by_pixel = one.grad.abs().sum(1)
        assert bool((by_pixel[target == IGNORE_INDEX] == 0).all())
        assert bool((by_pixel[target != IGNORE_INDEX] > 0).any())
        values.append(float(value.detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in TERM_OPTIONS), ("cross-entropy", {"label_smoothing": 0.1})]
)
def test_nothing_labelled_is_zero_and_finite(name: str, options: dict[str, float]) -> None:
    logits, target, weights = random_case()
    logits.requires_grad_()
    value = loss(name, **options)(logits, torch.full_like(target, IGNORE_INDEX), weights)
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None and not bool(logits.grad.any())


@pytest.mark.parametrize("name", TERM_OPTIONS)
@pytest.mark.parametrize("size", [1.0, 80.0])
def test_bf16_logits_are_computed_in_float32(name: str, size: float) -> None:
    """The value is that of the rounded logits to float32's precision, and extreme logits stay finite."""
    logits, target, weights = random_case()
    rounded = (size * logits).bfloat16().requires_grad_()
    value = loss(name)(rounded, target, weights)
    value.backward()
    assert value.dtype == torch.float32
    exact = loss(name)(rounded.detach().double().float(), target, weights)
    assert float(value.detach()) == pytest.approx(float(exact), rel=1e-6)
    assert rounded.grad is not None and bool(torch.isfinite(rounded.grad).all())


@pytest.mark.parametrize("name", TERM_OPTIONS)
def test_gradients_agree_with_differences(name: str) -> None:
    """Along a random direction; float32, so coarsely."""
    logits, target, weights = random_case(seed=3)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(9))
    logits.requires_grad_()
    value = loss(name)
    value(logits, target, weights).backward()
    step = 1e-3
    with torch.no_grad():
        ahead, behind = (float(value(logits + sign * step * direction, target, weights)) for sign in (1, -1))
    assert logits.grad is not None
    assert float((logits.grad * direction).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=2e-2, abs=2e-3)
