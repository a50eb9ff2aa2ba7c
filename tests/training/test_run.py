"""Whole trainings, seconds long: files, history, best weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fleetseg
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.history import COLUMNS
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run
from fleetseg.training.samples import CachedSamples

from .runs import WEIGHTS, rows, same_results

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]


def test_files_of_a_run(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    others = {name for name in names if not name.startswith("tensorboard/")}
    assert others == {*WEIGHTS, "recipe.yaml", "data.json", "history.csv", "stages/encoder.ckpt", "stages/network.ckpt"}


def test_history(finished: Path) -> None:
    found = rows(finished)
    assert tuple(found[0]) == COLUMNS
    assert [(row["stage"], row["epoch"]) for row in found] == [
        ("encoder", "1"),
        ("encoder", "2"),
        ("network", "1"),
        ("network", "2"),
        ("network", "3"),
    ]
    assert [row["miou"] != "" for row in found] == [True, True, False, True, True]
    assert all(0 < float(row["global_accuracy"]) <= 100 for row in found if row["miou"])
    assert all(float(row["loss"]) > 0 and float(row["images_per_second"]) > 0 for row in found)
    assert all(float(row["seconds"]) > float(row["validation_seconds"]) >= 0 for row in found)
    # Warm-up of one epoch of three steps, then down to zero at step 9: the rate at each epoch's first step.
    rates = [float(row["learning_rate"]) for row in found[2:]]
    assert rates == pytest.approx([5e-3 / 4, 5e-3, 5e-3 * 0.5**0.9], rel=1e-4)


def test_training_learns(finished: Path) -> None:
    losses = [float(row["loss"]) for row in rows(finished)]
    assert losses[1] < losses[0] and losses[4] < losses[2]


def test_tensorboard_scalars(finished: Path) -> None:
    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"{stage}/{name}" for stage in ("encoder", "network") for name in ("loss", "miou", "learning_rate")} <= tags
    losses = [(event.step, f"{event.value:.4g}") for event in events.Scalars("network/loss")]
    assert losses == [(int(row["epoch"]), f"{float(row['loss']):.4g}") for row in rows(finished)[2:]]


def test_tensorboard_shows_classes_and_the_same_images(finished: Path) -> None:
    events = EventAccumulator(str(finished / "tensorboard"), size_guidance={"images": 0}).Reload()
    scored = [row for row in rows(finished) if row["stage"] == "network" and row["miou"]]
    ious = [events.Scalars(f"network/iou/{name}") for name in ("red", "green", "blue")]
    for place, row in enumerate(scored):
        values = [iou[place].value for iou in ious]
        assert np.nanmean(values) == pytest.approx(float(row["miou"]), rel=1e-4)
        assert {iou[place].step for iou in ious} == {int(row["epoch"])}
    for name in ("network/0", "network/1", "encoder/1"):
        pictures = events.Images(name)
        assert pictures[0].encoded_image_string.startswith(b"\x89PNG")
    assert [one.step for one in events.Images("network/0")] == [2, 3]


def test_images_that_do_not_fit_into_memory_are_read_again_and_train_alike(
    finished: Path, two_stages: Recipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetseg.training.samples.available_memory", lambda: 0)
    run = Run(two_stages, str(tiny_data), tmp_path / "run")
    run.execute()
    assert not isinstance(run.train_set, CachedSamples) and not isinstance(run.val_set, CachedSamples)
    same_results(finished, tmp_path / "run")


def test_best_is_the_epoch_with_the_best_score_of_the_whole_network(finished: Path) -> None:
    network, metadata = load_checkpoint(finished / "best.safetensors")
    assert network.registered_name == "enet"
    scored = [row for row in rows(finished) if row["stage"] == "network" and row["miou"]]
    best = max(scored, key=lambda row: float(row["miou"]))
    assert metadata.provenance["stage"] == "network"
    assert str(metadata.provenance["epoch"]) == best["epoch"]
    assert 100 * metadata.provenance["val_miou"] == pytest.approx(float(best["miou"]), rel=1e-5)


def test_a_file_alone_rebuilds_its_network(finished: Path, tiny_data: Path, tmp_path: Path) -> None:
    path = shutil.copy(finished / "best.safetensors", tmp_path / "alone.safetensors")
    model = fleetseg.load(path)
    assert model.classes == ("red", "green", "blue")
    image = cv2.imread(str(tiny_data / "images" / "val" / "0.png"))[..., ::-1].copy()
    mask = model(image)
    assert (mask.shape, mask.dtype) == (image.shape[:2], np.uint8)
    assert mask.max() < 3
    metadata = model.metadata
    assert metadata.train_size == (32, 24)
    assert len(metadata.palette) == 3
    assert metadata.provenance["recipe"]["seed"] == 3
    assert {"fleetseg", "torch", "python", "finished", "data", "epoch", "val_miou"} <= set(metadata.provenance)


def test_best_gives_the_score_it_claims(finished: Path, tiny_data: Path) -> None:
    from fleetseg.data import open_dataset
    from fleetseg.evaluation import evaluate

    model = fleetseg.load(finished)
    report = evaluate(model, open_dataset(tiny_data, "val"), model.classes)
    assert report.scores.miou == pytest.approx(model.metadata.provenance["val_miou"], abs=1e-3)


def test_encoder_weights_reach_the_second_stage(finished: Path) -> None:
    encoder = load_file(finished / "stages" / "encoder.safetensors")
    assert any(key.startswith("head.") for key in encoder)
    with safe_open(finished / "stages" / "encoder.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["fleetseg"])["network"]["name"] == "enet-encoder"
    assert not any(key.startswith("head.") for key in load_file(finished / "last.safetensors"))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    finished: Path, two_stages: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    Run(two_stages, str(tiny_data), tmp_path / "again").execute()
    same_results(finished, tmp_path / "again")
    last = two_stages.stages[-1].model_copy(update={"epochs": 1})
    other = two_stages.model_copy(update={"seed": 4, "stages": (last,)})
    Run(other, str(tiny_data), tmp_path / "other").execute()
    left, right = (load_file(out / "last.safetensors") for out in (finished, tmp_path / "other"))
    assert not torch.equal(left["fullconv.weight"], right["fullconv.weight"])


def test_espnet_in_two_stages_with_options(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    network = {"name": "espnet", "options": {"alpha2": 1, "alpha3": 1}}
    stages = [make_stage("encoder", part="encoder", epochs=1), make_stage("network", epochs=1)]
    best = Run(make_recipe(network=network, stages=stages), str(tiny_data), tmp_path / "run").execute()
    rebuilt = load_checkpoint(best)[0]
    assert (rebuilt.registered_name, dict(rebuilt.options)) == ("espnet", {"alpha2": 1, "alpha3": 1})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_stages_of_different_sizes(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    """Each stage compiles its own step, and one compiled step does what the plain one does."""
    stages = [
        make_stage("encoder", part="encoder", epochs=2),
        make_stage("network", epochs=2, augmentation={"crop": [48, 40]}, batch_size=3),
    ]
    losses = []
    for compiled in (False, True):
        network = {"name": "espnet", "options": {"alpha2": 1, "alpha3": 1}}
        recipe = make_recipe(network=network, compile=compiled, stages=stages)
        Run(recipe, str(tiny_data), tmp_path / str(compiled)).execute()
        losses.append([float(row["loss"]) for row in rows(tmp_path / str(compiled))])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
