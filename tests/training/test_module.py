"""Loss, targets, averaging and precision of one stage against values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fleetseg.errors import TrainingError
from fleetseg.labels import IGNORE_INDEX
from fleetseg.metadata import Normalisation
from fleetseg.models.base import SegmentationNetwork
from fleetseg.training import precision
from fleetseg.training.module import TrainingModule, cell_targets
from fleetseg.training.precision import Precision, choose_precision
from fleetseg.training.recipe import StageSection

FP32 = Precision(bf16=False, compile=False)


class Pointwise(SegmentationNetwork):
    """Logits are the three channels, each times a weight."""

    def __init__(self) -> None:
        super().__init__(num_classes=3)
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.tensor(0))

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 3, H, W)."""
        return image * self.weight.view(1, 3, 1, 1)


def module_of(
    network: SegmentationNetwork | None = None, weights: tuple[float, ...] = (1, 1, 1), **stage: Any
) -> TrainingModule:
    return TrainingModule(
        network or Pointwise(),
        StageSection.model_validate({"name": "one", "epochs": 2, **stage}),
        Normalisation(mean=(0, 0, 0), std=(1, 1, 1)),
        np.array(weights, np.float32),
        steps_per_epoch=4,
        seed=5,
        precision=FP32,
    )


def test_weighted_cross_entropy_by_hand() -> None:
    """Four pixels with logits (0, 0, 1); the last one is unlabelled.

    With s = ln(2 + e), a pixel costs s for classes 0 and 1 and s − 1 for class 2. The mean is weighted by the
    weights of the pixels' own classes, 2 and 5 and 10.
    """
    module = module_of(weights=(2, 5, 10))
    images = torch.tensor([0, 0, 1], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    target = torch.tensor([[[0, 1, 2, IGNORE_INDEX]]], dtype=torch.uint8)
    loss = module.training_step((images, target), 0)
    s = math.log(2 + math.e)
    assert loss is not None
    assert float(loss.detach()) == pytest.approx((2 * s + 5 * s + 10 * (s - 1)) / 17, rel=1e-6)
    assert (module.mean_loss, module.images) == (pytest.approx(float(loss.detach())), 1)


def test_unlabelled_pixels_give_no_gradient() -> None:
    module = module_of()
    images = torch.randint(0, 3, (1, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values = module.normalise(images).requires_grad_()
    target = torch.tensor([[[0, IGNORE_INDEX], [IGNORE_INDEX, 2]]])
    module._forward_loss(values, target).backward()
    assert values.grad is not None
    assert (values.grad.abs().sum(1)[0] > 0).tolist() == [[True, False], [False, True]]


def test_a_batch_without_a_label_moves_nothing() -> None:
    module = module_of()
    images = torch.zeros((2, 3, 4, 4), dtype=torch.uint8)
    target = torch.full((2, 4, 4), IGNORE_INDEX, dtype=torch.uint8)
    assert module.training_step((images, target), 0) is None
    assert (module.mean_loss, module.batches, module.images) == (0, 0, 2)


def test_a_loss_that_is_no_number_ends_training() -> None:
    module = module_of(optimiser={"learning_rate": 0.25})
    with torch.no_grad():
        module.network.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    batch = (torch.ones((1, 3, 8, 8), dtype=torch.uint8), torch.zeros((1, 8, 8), dtype=torch.uint8))
    sentence = r"stage one, epoch 1: the loss became nan; .*stages.one.optimiser.learning_rate \(it is 0.25\)"
    with pytest.raises(TrainingError, match=sentence):
        module.training_step(batch, 0)


def test_normalisation_in_both_orders() -> None:
    pixel = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    for order in ("rgb", "bgr"):
        normalisation = Normalisation(order=order, mean=(1, 2, 3), std=(2, 4, 8), scale=0.5)
        module = TrainingModule(
            Pointwise(), StageSection(name="a", epochs=1), normalisation, np.ones(3, np.float32), 1, 0, FP32
        )
        expected = normalisation.apply(pixel[0].permute(1, 2, 0).numpy())
        np.testing.assert_allclose(module.normalise(pixel).numpy(), expected, rtol=1e-6)


def test_cell_targets_take_the_centre_of_each_cell() -> None:
    target = torch.arange(16 * 24, dtype=torch.int64).view(1, 16, 24)
    cells = cell_targets(target, 8)
    assert cells.tolist() == [[[4 * 24 + 4, 4 * 24 + 12, 4 * 24 + 20], [12 * 24 + 4, 12 * 24 + 12, 12 * 24 + 20]]]
    assert cell_targets(target, 1) is target


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 21), (17, 23), (20, 24), (31, 32)])
def test_cell_targets_have_the_size_of_the_logits(height: int, width: int) -> None:
    """⌈side / 8⌉ cells; one whose centre lies beyond the image is unlabelled."""
    target = torch.ones((2, height, width), dtype=torch.uint8)
    cells = cell_targets(target, 8)
    assert cells.shape == (2, -(-height // 8), -(-width // 8))
    assert (cells[:, -1, 0] == (1 if height % 8 in (0, 5, 6, 7) else IGNORE_INDEX)).all()


def test_averaged_weights_by_hand() -> None:
    """The first update copies; the n-th after it keeps min(decay, (1 + n) / (10 + n))."""
    module = module_of(ema=0.2)
    network = module.network
    assert isinstance(network, Pointwise) and module.average is not None
    expected = 0.0
    for step, value in enumerate([4.0, 8.0, -2.0, 6.0]):
        with torch.no_grad():
            network.weight.fill_(value)
            network.seen.fill_(step)  # type: ignore[operator]
        module.on_train_batch_end()
        keep = (0, 2 / 11, 0.2, 0.2)[step]  # 3/12 and 4/13 are above the decay
        expected = keep * expected + (1 - keep) * value
        averaged = module.best_network
        assert isinstance(averaged, Pointwise)
        assert averaged.weight.tolist() == pytest.approx([expected] * 3, abs=1e-6)
        assert int(averaged.seen) == step  # type: ignore[arg-type]


def test_without_an_average_the_network_itself_is_kept() -> None:
    module = module_of()
    assert module.best_network is module.network


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_optimiser_and_its_first_step(name: str, kind: type[torch.optim.Optimizer]) -> None:
    """Adam's first step is the learning rate times the gradient's sign; AdamW decays before it."""
    module = module_of(
        optimiser={"name": name, "learning_rate": 0.1, "weight_decay": 0.5 if name == "adamw" else 0.0},
        schedule={"name": "constant"},
    )
    settings = module.configure_optimizers()
    optimiser = settings["optimizer"]
    assert type(optimiser) is kind
    network = module.network
    assert isinstance(network, Pointwise)
    network.weight.grad = torch.tensor([3.0, -2.0, 0.5])
    optimiser.step()
    start = 0.95 if name == "adamw" else 1.0
    assert network.weight.tolist() == pytest.approx([start - 0.1, start + 0.1, start - 0.1], rel=1e-5)
    assert settings["lr_scheduler"]["interval"] == "step"


def test_the_schedule_scales_the_learning_rate_step_by_step() -> None:
    module = module_of(optimiser={"learning_rate": 0.8}, schedule={"name": "poly", "power": 1.0})
    settings = module.configure_optimizers()
    rates = []
    for _ in range(8):  # two epochs of four steps
        rates.append(settings["optimizer"].param_groups[0]["lr"])
        settings["optimizer"].step()
        settings["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize(
    ("choice", "native", "bf16"),
    [("auto", True, True), ("auto", False, False), ("fp32", True, False), ("bf16", True, True), ("bf16", False, True)],
)
def test_precision(
    choice: str,
    native: bool,
    bf16: bool,
    make_recipe: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """auto falls back to fp32; bf16 is obeyed, and where it is slow that is said."""
    monkeypatch.setattr(precision, "bf16_is_native", lambda: native)
    assert choose_precision(make_recipe(precision=choice)) == Precision(bf16=bf16, compile=False)
    said = capsys.readouterr().err
    assert ("no bf16 arithmetic" in said) == (choice == "bf16" and not native)


def test_bf16_native_without_pytorchs_private_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert precision.bf16_is_native() is False


def test_bf16_computes_the_logits_in_bf16() -> None:
    """The convolution is rounded to 8 bits of mantissa, the loss is not."""
    network = nn.Conv2d(3, 3, 1, bias=False)

    class Convolution(SegmentationNetwork):
        def __init__(self) -> None:
            super().__init__(num_classes=3)
            self.conv = network

        def forward_padded(self, image: Tensor) -> Tensor:
            self.logits_type = (logits := self.conv(image)).dtype
            return logits

    one = Convolution()
    module = TrainingModule(
        one,
        StageSection(name="a", epochs=1),
        Normalisation(),
        np.ones(3, np.float32),
        1,
        0,
        Precision(bf16=True, compile=False),
    )
    batch = torch.randint(0, 255, (1, 3, 8, 8), dtype=torch.uint8), torch.zeros((1, 8, 8), dtype=torch.uint8)
    loss = module.training_step(batch, 0)
    assert loss is not None
    assert (one.logits_type, loss.dtype) == (torch.bfloat16, torch.float32)
