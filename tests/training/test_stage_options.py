"""Accumulation, clipping, the auxiliary head, weight averaging, early stopping: each works, and all of them resume."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fleetseg.metadata import Normalisation
from fleetseg.models import build_network
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.early_stop import last_epoch
from fleetseg.training.history import History
from fleetseg.training.module import TrainingModule
from fleetseg.training.network_options import WITH_ENCODER_MAP
from fleetseg.training.precision import Precision
from fleetseg.training.recipe import Recipe, StageSection
from fleetseg.training.recipe_loss import TERM_OPTIONS
from fleetseg.training.resume_point import ResumePointIO
from fleetseg.training.run import Run
from fleetseg.training.weight_averaging import WeightAverage, estimate_statistics

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def everything(make_recipe: MakeRecipe, make_stage: MakeStage) -> Recipe:
    """Two stages that use every option which keeps a state, or could."""
    terms = [{"name": "ohem"}, {"name": "lovasz", "weight": 0.5}, {"name": "boundary", "weight": 0.2}]
    learn = make_stage(
        "learn",
        epochs=2,
        loss={"terms": terms, "class_weights": [1, 2, 3], "auxiliary": 0.4},
        distillation={"teacher": "self", "logits": 0.5, "pairs": 1, "region": 8},
        optimiser={"learning_rate": 5e-3, "accumulate": 2, "clip": 1.0},
        schedule={"name": "one-cycle"},
        augmentation={"crop": [32, 24], "balance": 0.7},
    )
    average = make_stage(
        "average", epochs=6, ema=None, swa_epochs=5, freeze=["encoder.initial.*"], patience=1, validate_every=1
    )
    average["optimiser"] = {"learning_rate": 1e-6}  # mIoU soon stands still
    return make_recipe(stages=[learn, average])


@pytest.fixture(scope="module")
def finished(everything: Recipe, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("everything") / "run"
    Run(everything, str(tiny_data), out).execute()
    return out


@pytest.mark.parametrize(("save", "when"), [(1, "after"), (3, "after"), (4, "before"), (4, "after")])
def test_a_stopped_run_ends_with_the_same_weights(
    save: int,
    when: str,
    everything: Recipe,
    finished: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped around the n-th writing of a resume point, once an epoch."""
    original, calls = ResumePointIO.save_checkpoint, 0

    def stopping(self: ResumePointIO, *arguments: Any, **keywords: Any) -> None:
        nonlocal calls
        calls += 1
        if calls != save or when == "after":
            original(self, *arguments, **keywords)
        if calls == save:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResumePointIO, "save_checkpoint", stopping)
        with pytest.raises(KeyboardInterrupt):
            Run(everything, str(tiny_data), tmp_path / "run").execute()
    Run(everything, str(tiny_data), tmp_path / "run", resume=True).execute()
    names = {path.relative_to(finished) for path in finished.rglob("*.safetensors")}
    assert len(names) == 4
    for name in names:
        left, right = load_file(finished / name), load_file(tmp_path / "run" / name)
        assert all(torch.equal(left[key], right[key]) for key in left), name
    columns = ("stage", "epoch", "loss", "miou", "learning_rate")
    assert [[row[c] for c in columns] for row in rows(finished)] == [
        [row[c] for c in columns] for row in rows(tmp_path / "run")
    ]


def test_early_stopping_ends_the_stage(finished: Path) -> None:
    """A validation that is not better than the one before ends it; all before were better."""
    scores = [float(row["miou"]) for row in rows(finished) if row["stage"] == "average"]
    assert 2 <= len(scores) < 6
    assert scores[-1] <= scores[-2]
    assert all(old < new for old, new in pairwise(scores[:-1]))
    for name in ("last.safetensors", "stages/average.safetensors"):
        assert load_checkpoint(finished / name)[1].provenance["epoch"] == len(scores)


def test_last_epoch_by_hand(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    stage = StageSection(name="a", epochs=20, patience=2)
    for epoch, miou in enumerate([50.0, None, 60.0, 60.0, None, 55.0, 70.0], start=1):
        history.add({"stage": "other", "epoch": epoch, "miou": 10.0})
        history.add({"stage": "a", "epoch": epoch, "miou": miou})
        assert last_epoch(stage, history) == (20 if epoch < 6 else 6)
    assert last_epoch(stage.model_copy(update={"patience": None}), history) == 20


def test_the_auxiliary_head_is_not_saved(finished: Path) -> None:
    network, _ = load_checkpoint(finished / "best.safetensors")
    assert set(load_file(finished / "stages" / "learn.safetensors")) == set(network.state_dict())


def module_of(network: SegmentationNetwork, **stage: Any) -> TrainingModule:
    return TrainingModule(
        network,
        StageSection.model_validate({"name": "one", "epochs": 2, **stage}),
        Normalisation(),
        np.ones(network.num_classes, np.float32),
        steps_per_epoch=4,
        seed=5,
        precision=Precision(bf16=False, compile=False),
    )


@pytest.mark.parametrize("name", WITH_ENCODER_MAP)
def test_the_auxiliary_head_teaches_the_encoder_alone(name: str) -> None:
    torch.manual_seed(0)
    module = module_of(build_network(name, 3), loss={"auxiliary": 2.0, "class_weights": "none"})
    images = torch.randint(0, 255, (2, 3, 24, 24), dtype=torch.uint8)
    target = torch.randint(0, 3, (2, 24, 24))
    logits = module.network(module.normalise(images))
    small = module.objective.auxiliary_logits()
    assert small is not None and small.shape == (2, 3, 3, 3)
    weights = torch.ones(3)
    whole = module.objective(logits, small, target, weights, None)
    without = module.objective(logits, None, target, weights, None)
    grown = nn.functional.cross_entropy(small, target[:, 4::8, 4::8].clone(), reduction="mean")
    assert float((whole - without).detach()) == pytest.approx(2 * float(grown.detach()), rel=1e-4)
    (whole - without).backward()
    moved = {
        key.split(".")[0]
        for key, value in module.network.named_parameters()
        if value.grad is not None and bool(value.grad.any())
    }
    assert moved == {"encoder"}
    module.eval()
    module.network(module.normalise(images))
    assert module.objective.auxiliary is not None and not module.objective.auxiliary._heard


class Line(SegmentationNetwork):
    """One weight and a BatchNorm."""

    def __init__(self) -> None:
        super().__init__(num_classes=3)
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm2d(3)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 3, H, W)."""
        result: Tensor = self.norm(image * self.weight)
        return result


def test_averaged_weights_and_their_statistics_by_hand() -> None:
    network = Line()
    average = WeightAverage(network)
    for value in (2.0, 3.0, 7.0):
        nn.init.constant_(network.weight, value)
        average.add(network)
    assert float(average.module.weight) == pytest.approx(4.0)

    def batches() -> Iterator[Tensor]:
        for level in (1.0, 4.0):
            yield torch.stack((torch.full((3, 8, 8), level), torch.full((3, 8, 8), level + 2)))

    average.module.train()
    estimate_statistics(average.module, batches(), average.module)
    norm = average.module.norm
    assert isinstance(norm, nn.BatchNorm2d)
    # Means 4·2 and 4·5; variances, of 128 values at ±4, unbiased.
    assert norm.running_mean is not None and norm.running_mean.tolist() == pytest.approx([14.0] * 3)
    assert norm.running_var is not None and norm.running_var.tolist() == pytest.approx([16 * 128 / 127] * 3)
    assert norm.momentum == 0.1 and not norm.training
    frozen = norm.running_mean.clone()
    estimate_statistics(average.module, [torch.zeros(2, 3, 8, 8)], average.module, frozenset({"norm"}))
    assert torch.equal(norm.running_mean, frozen)


def test_accumulation_updates_averages_only_after_a_step() -> None:
    """Four batches, three to a step: steps after the third and the last."""
    network = build_network("enet", 3)
    module = module_of(network, ema=0.5, optimiser={"accumulate": 3})
    assert module.average is not None
    counts = []
    for index in range(4):
        module.on_train_batch_end(None, None, index)
        counts.append(int(module.average.n_averaged))
    assert counts == [0, 0, 1, 2]


def test_the_schedule_counts_steps_not_batches(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    """Three batches an epoch, accumulated into one step."""
    stage = make_stage("one", epochs=2, optimiser={"accumulate": 3}, schedule={"name": "poly", "power": 1.0})
    Run(make_recipe(stages=[stage]), str(tiny_data), tmp_path / "run").execute()
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "run")]
    assert rates == pytest.approx([5e-4, 2.5e-4])


def test_clipping_bounds_the_step(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = []

    def seen(self: TrainingModule, optimizer: torch.optim.Optimizer) -> None:
        gradients = [
            p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if gradients:
            norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(TrainingModule, "on_before_zero_grad", seen)
    stage = make_stage("one", epochs=1, optimiser={"clip": 0.25})
    Run(make_recipe(stages=[stage]), str(tiny_data), tmp_path / "run").execute()
    assert norms and max(norms) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_and_plain_steps_agree(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    """With all terms, the auxiliary head, which listens to the network, and a teacher."""
    terms = [{"name": name} for name in TERM_OPTIONS]
    stage = make_stage(
        "one",
        epochs=2,
        loss={"terms": terms, "auxiliary": 0.4},
        distillation={"teacher": "self", "logits": 1, "channels": 1, "pairs": 1, "region": 8},
    )
    losses = []
    for compiled in (False, True):
        network = {"name": "espnet", "options": {"alpha2": 1, "alpha3": 1}}
        recipe = make_recipe(network=network, compile=compiled, stages=[stage])
        Run(recipe, str(tiny_data), tmp_path / str(compiled)).execute()
        losses.append([float(row["loss"]) for row in rows(tmp_path / str(compiled))])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)


def test_options_that_contradict(make_stage: MakeStage) -> None:
    for changes, sentence in (
        ({"swa_epochs": 2}, "swa_epochs is 2; .* goes without ema"),
        ({"swa_epochs": 4, "ema": None}, "swa_epochs is 4; it must not be above the stage's 3 epochs"),
        ({"part": "encoder", "loss": {"auxiliary": 0.4}}, "loss.auxiliary trains the encoder beside a decoder"),
        ({"schedule": {"name": "milestones"}}, r"milestones is \[\]; epochs in rising order are needed"),
    ):
        with pytest.raises(ValueError, match=sentence):
            StageSection.model_validate(make_stage("one", **changes))
