"""A teacher that fails on the augmented samples is noticed before it teaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fleetseg.data import open_dataset
from fleetseg.data.transforms import Augmentation
from fleetseg.training.loader import TrainingSamples
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run
from fleetseg.training.teacher import Teacher
from fleetseg.training.teacher_check import teacher_sentence


class Brightest(Teacher):
    """Right about the tiny data's colours, as long as nobody changes them."""

    def __init__(self) -> None:
        """Needs no file."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()


@pytest.fixture
def samples(tiny_data: Path) -> Callable[..., TrainingSamples]:
    def made(scenes: int = 0, **augmentation: Any) -> TrainingSamples:
        return TrainingSamples(
            open_dataset(str(tiny_data), "train"), Augmentation((32, 24), **augmentation), (1, 0), scenes
        )

    return made


def test_one_that_knows_everything(samples: Callable[..., TrainingSamples]) -> None:
    assert teacher_sentence(Brightest(), samples(flip=0.5)) == (
        "the teacher labels 100.0% of the pixels of 6 training samples as the data do, 100.0% after augmentation"
    )
    many = teacher_sentence(Brightest(), samples(scenes=20))
    assert many is not None and "of the pixels of 16 training samples" in many


def test_it_sees_no_changed_colours(samples: Callable[..., TrainingSamples]) -> None:
    def share(own_colours: bool) -> str:
        recoloured = samples(colour=3.0)
        recoloured.own_colours = own_colours
        sentence = teacher_sentence(Brightest(), recoloured)
        assert sentence is not None
        return sentence

    assert share(True).endswith("100.0% after augmentation")
    assert not share(False).endswith("100.0% after augmentation")


def test_hints_name_the_keys(samples: Callable[..., TrainingSamples]) -> None:
    hard = samples(scale=(0.02, 0.05), scenes=6)
    sentence = teacher_sentence(Brightest(), hard)
    assert sentence is not None
    assert sentence.endswith(
        "what it sees wrongly it teaches wrongly: try distillation.only_right: true, a narrower "
        "augmentation.scale (it is 0.02 to 0.05), scenes: 0 (it is 6)"
    )
    harmless = teacher_sentence(Brightest(), hard, only_right=True)
    assert harmless is not None and "wrongly" not in harmless


def test_without_labels_nothing_is_said() -> None:
    unlabelled = SimpleNamespace(image=np.zeros((30, 40, 3), np.uint8), mask=np.full((30, 40), 255, np.uint8))
    samples = TrainingSamples([unlabelled] * 3, Augmentation((32, 24)), (1, 0))  # type: ignore[arg-type]
    assert teacher_sentence(Brightest(), samples) is None


def test_a_run_says_it_once(
    colour_onnx: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe(stages=[make_stage("one", epochs=1, distillation={"teacher": str(colour_onnx)})])
    Run(recipe, str(tiny_data), tmp_path / "run").execute()
    assert "stage one: the teacher labels 100.0% of the pixels of 6 training samples" in capsys.readouterr().err
    Run(recipe, str(tiny_data), tmp_path / "run", resume=True).execute()
    assert "the teacher labels" not in capsys.readouterr().err
