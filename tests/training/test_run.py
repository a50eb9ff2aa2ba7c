"""Whole trainings, seconds long: files, history, best weights, interruption and continuation."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import signal
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
from fleetseg.errors import CheckpointError, DataError, FleetsegError, RecipeError, TrainingError, UsageError
from fleetseg.models.checkpoint import load_checkpoint
from fleetseg.training.epoch_end import EpochEnd
from fleetseg.training.history import COLUMNS
from fleetseg.training.module import TrainingModule
from fleetseg.training.recipe import Recipe
from fleetseg.training.resume_point import ResumePointIO
from fleetseg.training.run import Run
from fleetseg.training.samples import CachedSamples

MakeRecipe = Callable[..., Recipe]
MakeStage = Callable[..., dict[str, Any]]

WEIGHTS = ("best.safetensors", "last.safetensors", "stages/encoder.safetensors", "stages/network.safetensors")


@pytest.fixture(scope="module")
def two_stages(make_recipe: MakeRecipe, make_stage: MakeStage) -> Recipe:
    """Encoder, then the whole network, validated after epochs 2 and 3; a worker prepares the images."""
    encoder = make_stage("encoder", part="encoder", epochs=2, validate_every=1)
    return make_recipe(data={"workers": 1}, stages=[encoder, make_stage("network")])


@pytest.fixture(scope="module")
def finished(tiny_data: Path, two_stages: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run; not to be changed."""
    out = tmp_path_factory.mktemp("run") / "finished"
    assert Run(two_stages, str(tiny_data), out).execute() == out / "best.safetensors"
    return out


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_results(one: Path, other: Path) -> None:
    """Every tensor bit by bit, and the history but for its times."""
    for name in WEIGHTS:
        left, right = load_file(one / name), load_file(other / name)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name
    times = ("images_per_second", "seconds", "validation_seconds")
    left_rows, right_rows = (
        [{k: v for k, v in row.items() if k not in times} for row in rows(o)] for o in (one, other)
    )
    assert left_rows == right_rows


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


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, when: str, how: Any) -> None:
    """Run `how` before or after the `call`-th call of a method, once."""
    original = getattr(owner, method)
    calls = 0

    def patched(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            how()
        result = original(*arguments, **keywords)
        if calls == call and when == "after":
            how()
        return result

    monkeypatch.setattr(owner, method, patched)


def power_cut() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "method", "call", "when"),
    [
        # In the first epoch: nothing is there yet.
        pytest.param(TrainingModule, "training_step", 2, "before", marks=pytest.mark.slow),
        (ResumePointIO, "save_checkpoint", 2, "before"),  # weights of the encoder's last epoch saved, state not
        (ResumePointIO, "save_checkpoint", 2, "after"),  # the encoder is through but not declared finished
        (TrainingModule, "training_step", 11, "after"),  # in the second stage's second epoch
        # Validated, nothing saved.
        pytest.param(EpochEnd, "on_train_epoch_end", 4, "before", marks=pytest.mark.slow),
        (ResumePointIO, "save_checkpoint", 4, "before"),  # best weights saved, state not
        (ResumePointIO, "save_checkpoint", 5, "after"),  # all epochs done, final weights not written
    ],
)
def test_stopped_anywhere_a_run_ends_with_the_same_weights(
    owner: type,
    method: str,
    call: int,
    when: str,
    finished: Path,
    two_stages: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, owner, method, call, when, power_cut)
        with pytest.raises(KeyboardInterrupt):
            Run(two_stages, str(tiny_data), tmp_path / "run").execute()
    Run(two_stages, str(tiny_data), tmp_path / "run", resume=True).execute()
    same_results(finished, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_interrupt_and_leave_the_process_as_it_was(
    number: signal.Signals,
    two_stages: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop_at(monkeypatch, TrainingModule, "training_step", 2, "before", lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        Run(two_stages, str(tiny_data), tmp_path / "run").execute()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_resuming_a_finished_run_changes_nothing(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    assert Run(two_stages, str(tiny_data), finished, resume=True).execute() == finished / "best.safetensors"
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


def test_resume_removes_what_a_kill_left_half_written(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    leftovers = [finished / ".best.1a2b3c4d.tmp.safetensors", finished / "stages" / ".network.5e6f.tmp.ckpt"]
    for path in leftovers:
        path.write_bytes(b"half")
    Run(two_stages, str(tiny_data), finished, resume=True)
    assert not any(path.exists() for path in leftovers)


def test_resume_where_nothing_is_yet_begins(two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    """A run may be killed before its first file is written."""
    Run(two_stages, str(tiny_data), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "recipe.yaml").is_file()


def test_a_failed_save_keeps_the_resume_point_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stage.ckpt"
    state = {"loops": {"fit_loop": {}}, "value": torch.ones(3)}
    ResumePointIO().save_checkpoint(state, path)

    def half(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(KeyboardInterrupt):
            ResumePointIO().save_checkpoint({"value": torch.zeros(3)}, path)
    assert torch.equal(ResumePointIO().load_checkpoint(path)["value"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_a_broken_resume_point_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stage.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"stage.ckpt: not a complete resume point \(.*\); delete it") as caught:
        ResumePointIO().load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_hostile_resume_point_runs_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"loops": {"fit_loop": Hostile()}}, tmp_path / "stage.ckpt")
    with pytest.raises(CheckpointError):
        ResumePointIO().load_checkpoint(tmp_path / "stage.ckpt")
    assert not (tmp_path / "owned").exists()


def poisoned(monkeypatch: pytest.MonkeyPatch, from_step: int) -> None:
    """Make the loss NaN from a step on."""
    original = TrainingModule._forward_loss
    calls = 0

    def loss(self: TrainingModule, images: torch.Tensor, target: torch.Tensor, *more: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = original(self, images, target, *more)
        return value * float("nan") if calls >= from_step else value

    monkeypatch.setattr(TrainingModule, "_forward_loss", loss)


def test_a_diverging_run_keeps_the_weights_of_the_last_good_epoch(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, from_step=5)
    with pytest.raises(
        TrainingError, match=r"stage network, epoch 2: the loss became nan on .*; the weights of epoch 1 are"
    ):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    network, metadata = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert metadata.provenance["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1"]


def test_weights_that_are_no_numbers_are_never_saved(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the last step may still be finite when that step ruins the weights."""
    original = TrainingModule.on_train_batch_end

    def ruin(self: TrainingModule, *arguments: Any) -> None:
        original(self, *arguments)
        if self.current_epoch == 1 and self.batches == 3:
            next(self.network.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(TrainingModule, "on_train_batch_end", ruin)
    with pytest.raises(TrainingError, match="epoch 2: a weight became infinite or no number; the weights of epoch 1"):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()
    assert load_checkpoint(tmp_path / "run" / "last.safetensors")[1].provenance["epoch"] == 1


@pytest.mark.parametrize("cache", [True, False])
def test_an_image_that_breaks_is_named(
    cache: bool, make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    """In the main process while caching, or in a worker."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    (data / "images" / "train" / "4.png").write_bytes(b"no picture")
    recipe = make_recipe(
        data={"workers": 1, "cache": cache}, stages=[make_stage("network", loss={"class_weights": "none"})]
    )
    with pytest.raises(FleetsegError, match=r"train/4\.png") as caught:
        Run(recipe, str(data), tmp_path / "run").execute()
    assert caught.value.exit_status == 1
    assert "\n" not in str(caught.value)


def test_a_killed_worker_is_one_sentence(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_workers() -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    stop_at(monkeypatch, TrainingModule, "training_step", 1, "before", kill_workers)
    with pytest.raises(TrainingError, match="stage network: a process that prepares images was ended from outside"):
        Run(make_recipe(data={"workers": 1}), str(tiny_data), tmp_path / "run").execute()


def test_too_little_memory_is_one_sentence(
    make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        torch.empty(2**60)

    stop_at(monkeypatch, TrainingModule, "training_step", 2, "before", fail)
    with pytest.raises(TrainingError, match=r"does not suffice for batches of 2 images; lower stages.network.batch_"):
        Run(make_recipe(), str(tiny_data), tmp_path / "run").execute()


def test_a_val_split_without_labels_is_refused(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    for path in (data / "labels" / "val").iterdir():
        cv2.imwrite(str(path), np.full((32, 40), 255, np.uint8))
    recipe = make_recipe(stages=[make_stage("network", epochs=1)])
    with pytest.raises(DataError, match="the split 'val' has no labelled pixel"):
        Run(recipe, str(data), tmp_path / "run").execute()


def test_crops_larger_than_the_images_and_sides_that_are_no_multiple_of_8(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    augmentation = {"crop": [61, 45], "scale": [0.5, 1.0]}
    stages = [
        make_stage("encoder", part="encoder", epochs=1, augmentation=augmentation),
        make_stage("network", epochs=1, augmentation=augmentation, batch_size=50, ema=None),
    ]
    best = Run(make_recipe(stages=stages), str(tiny_data), tmp_path / "run").execute()
    assert load_checkpoint(best)[1].train_size == (61, 45)


def test_espnet_in_two_stages_with_options(
    make_recipe: MakeRecipe, make_stage: MakeStage, tiny_data: Path, tmp_path: Path
) -> None:
    network = {"name": "espnet", "options": {"alpha2": 1, "alpha3": 1}}
    stages = [make_stage("encoder", part="encoder", epochs=1), make_stage("network", epochs=1)]
    best = Run(make_recipe(network=network, stages=stages), str(tiny_data), tmp_path / "run").execute()
    rebuilt = load_checkpoint(best)[0]
    assert (rebuilt.registered_name, dict(rebuilt.options)) == ("espnet", {"alpha2": 1, "alpha3": 1})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 9}, r"started with seed = 3, not 9; resume with its own recipe: fleetseg train .*recipe.yaml"),
        ({"network": {"name": "espnet"}}, r"started with network.name = 'enet', not 'espnet'"),
    ],
)
def test_resume_with_another_recipe(
    changes: dict[str, Any], sentence: str, finished: Path, two_stages: Recipe, tiny_data: Path
) -> None:
    other = Recipe.model_validate({**two_stages.model_dump(), **changes})
    with pytest.raises(UsageError, match=sentence):
        Run(other, str(tiny_data), finished, resume=True)


def test_resume_with_another_stage(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    tree = two_stages.model_dump()
    tree["stages"][1]["schedule"]["power"] = 2.0
    with pytest.raises(UsageError, match=r"started with stages.1.schedule.power = 0.9, not 2.0"):
        Run(Recipe.model_validate(tree), str(tiny_data), finished, resume=True)
    tree["stages"] = tree["stages"][1:]
    with pytest.raises(UsageError, match="the number of stages = 2, not 1"):
        Run(Recipe.model_validate(tree), str(tiny_data), finished, resume=True)


def test_resume_on_other_data(finished: Path, two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "moved"))
    Run(two_stages, str(data), finished, resume=True)  # the same data elsewhere are no other data
    for folder in ("images", "labels"):
        (data / folder / "train" / "5.png").unlink()
    with pytest.raises(UsageError, match=r"with train_images = 6, but .*moved has 5; resume with the same data"):
        Run(two_stages, str(data), finished, resume=True)


def test_a_run_is_not_begun_twice_in_one_folder(finished: Path, two_stages: Recipe, tiny_data: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already; add --resume or choose another --out"):
        Run(two_stages, str(tiny_data), finished)


def test_files_of_some_other_run_are_not_taken_over(two_stages: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"old")
    with pytest.raises(UsageError, match=r"holds best.safetensors but no recipe.yaml"):
        Run(two_stages, str(tiny_data), tmp_path)


def test_scenes_are_not_mixed_into_other_classes(make_recipe: MakeRecipe, tiny_data: Path, tmp_path: Path) -> None:
    sentence = r"data.scenes is 5, but the built-in scenes have CamVid's 11 classes .* 3 others; set data.scenes=0"
    with pytest.raises(RecipeError, match=sentence):
        Run(make_recipe(data={"scenes": 5}), str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


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
