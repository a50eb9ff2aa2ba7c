"""Teachers: whatever can be loaded, its classes matched by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from fleetseg.errors import RecipeError, UsageError
from fleetseg.metadata import ModelMetadata
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run
from fleetseg.training.teacher import Ensemble, Teacher, open_teacher, resized_like


def test_an_onnx_teacher_in_the_order_of_the_data(colour_onnx: Path) -> None:
    """The colour network's logits are the channels red, green and blue."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 9, 7), dtype=np.uint8))
    logits = Teacher(str(colour_onnx), ("blue", "red"), (7, 9))(images)
    assert torch.equal(logits, images[:, [2, 0]].float())


def test_a_teacher_with_other_classes(colour_onnx: Path) -> None:
    sentence = r"colours.onnx: has no class 'sky'; its classes are red, green, blue, and a teacher must know all of the"
    with pytest.raises(UsageError, match=sentence):
        Teacher(str(colour_onnx), ("red", "sky"), (7, 9))


def test_logits_of_another_size() -> None:
    large = torch.arange(16.0).view(1, 1, 4, 4)
    assert resized_like(large, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert resized_like(large[..., :2, :2], (4, 4)).shape == (1, 1, 4, 4)
    assert resized_like(large, (4, 4)) is large


def test_several_teachers_are_the_mean_of_their_probabilities() -> None:
    """One at half the resolution; a constant beside a teacher's logits changes nothing."""
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    fine = probabilities[0].log().view(1, 2, 1, 1).expand(1, 2, 4, 6) + 3.0
    coarse = probabilities[1].log().view(1, 2, 1, 1).expand(1, 2, 2, 3) - 5.0
    logits = Ensemble([lambda _: coarse, lambda _: fine])(torch.zeros(1, 3, 4, 6, dtype=torch.uint8))
    assert logits.shape == (1, 2, 4, 6)
    torch.testing.assert_close(logits.exp()[0, :, 3, 5], torch.tensor([0.55, 0.45]))


def test_one_teacher_and_several_by_name(colour_onnx: Path) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 9, 7), dtype=np.uint8))
    one, twice = (open_teacher([str(colour_onnx)] * count, ("blue", "red"), (7, 9))(images) for count in (1, 2))
    assert torch.equal(one, images[:, [2, 0]].float())
    torch.testing.assert_close(twice, one.log_softmax(1), rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match=r"absent\.onnx"):
        open_teacher([str(colour_onnx), "absent.onnx"], ("blue", "red"), (7, 9))


@pytest.fixture
def checkpoint(tmp_path: Path, random_network: Callable[..., Any], metadata_of: Callable[..., ModelMetadata]) -> Path:
    """ESPNet-C, logits at 1/8, with the tiny data's classes and one more."""
    network = random_network("espnet-c", 4, alpha2=0, alpha3=0)
    metadata = metadata_of(network, classes=("green", "other", "red", "blue"))
    save_checkpoint(tmp_path / "teacher.safetensors", network, metadata)
    return tmp_path / "teacher.safetensors"


def weights_after(recipe: Recipe, data: Path, out: Path) -> torch.Tensor:
    Run(recipe, str(data), out).execute()
    return load_file(out / "last.safetensors")["fullconv.weight"]


def test_a_run_learns_from_its_teacher(
    checkpoint: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    """A weight of almost nothing changes nothing much; one of 1 does."""

    def trained(name: str, **distillation: Any) -> torch.Tensor:
        section = {"teacher": str(checkpoint), **distillation} if distillation else None
        recipe = make_recipe(stages=[make_stage("one", epochs=1, ema=None, distillation=section)])
        return weights_after(recipe, tiny_data, tmp_path / name)

    plain, hardly = trained("plain"), trained("hardly", logits=1e-9)
    taught = trained("taught", logits=1, channels=1, pairs=1, region=8)
    assert torch.allclose(plain, hardly, atol=2e-3)
    assert not torch.allclose(plain, taught, atol=2e-3)


def test_self_distillation(
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    results = []
    for section in (None, {"teacher": "self", "logits": 5.0}):
        recipe = make_recipe(stages=[make_stage("one", epochs=2, distillation=section)])
        results.append(weights_after(recipe, tiny_data, tmp_path / str(section is None)))
    assert not torch.equal(*results)


def test_mistakes_before_anything_is_written(
    colour_onnx: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    stage = make_stage("one", distillation={"teacher": str(colour_onnx)})
    with pytest.raises(UsageError, match="has no class 'Sky'"):
        Run(make_recipe(stages=[stage]), "scenes:1", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"distillation.teacher is self, the moving average of the weights; give ema"):
        make_recipe(stages=[make_stage("one", ema=None, distillation={"teacher": "self"})])
    with pytest.raises(ValueError, match="self cannot teach beside other models"):
        make_recipe(stages=[make_stage("one", distillation={"teacher": ["self", "x"]})])
    for nobody in ("", [], ["x", ""]):
        with pytest.raises(ValueError, match="teacher is empty"):
            make_recipe(stages=[make_stage("one", distillation={"teacher": nobody})])
    with pytest.raises(ValueError, match="the teacher teaches nothing"):
        make_recipe(stages=[make_stage("one", distillation={"teacher": "x", "logits": 0})])


def test_the_option_sets_the_teacher_of_the_stages_that_have_one(tmp_path: Path) -> None:
    from fleetseg.training.recipe_file import load_recipe

    taught = load_recipe("enet-camvid-distilled", teachers=["best.onnx"], init="other").stages[0].distillation
    assert taught is not None and (taught.teacher, taught.temperature) == ("best.onnx", 1.0)
    stages = load_recipe("smoke", teachers=["enet-camvid"]).stages
    assert stages[0].distillation is None
    assert stages[1].distillation is not None and stages[1].distillation.teacher == "enet-camvid"
    several = load_recipe("enet-camvid-distilled", teachers=["best.onnx", "runs/other"])
    section = several.stages[0].distillation
    assert section is not None and section.teachers == ("best.onnx", "runs/other")
    assert yaml.safe_load(several.to_yaml())["stages"][0]["distillation"]["teacher"] == ["best.onnx", "runs/other"]
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(str(tmp_path / "absent.yaml"), teachers=["x"])
