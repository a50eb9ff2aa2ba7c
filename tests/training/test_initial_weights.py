"""Starting from other weights: what is kept, what is replaced, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fleetseg.errors import UsageError
from fleetseg.metadata import ModelMetadata, Normalisation
from fleetseg.models import build_encoder, build_network
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.training.initial_weights import InitialWeights
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run

USUAL = Normalisation()


@pytest.fixture
def four_classes(tmp_path: Path, random_network: Callable[..., Any], metadata_of: Callable[..., ModelMetadata]) -> Path:
    """ENet for class0 to class3."""
    network = random_network("enet", 4)
    save_checkpoint(tmp_path / "four.safetensors", network, metadata_of(network))
    return tmp_path / "four.safetensors"


def test_other_classes_get_a_new_head(four_classes: Path) -> None:
    initial = InitialWeights.read(str(four_classes))
    network = build_network("enet", 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    says = initial.copy_into(network, ("sky", "road"), USUAL)
    for key, value in network.state_dict().items():
        assert torch.equal(value, (before if key.startswith("fullconv") else initial.tensors)[key]), key
    count = len(before) - 2
    assert says == [
        f"init {four_classes}: {count} of {count} tensors below the head are kept",
        "init: the head (fullconv) is replaced, 4 classes by 2, none of them known",
    ]


def test_classes_of_equal_names_keep_their_part_of_the_head(four_classes: Path) -> None:
    initial = InitialWeights.read(str(four_classes))
    network = build_network("enet", 3)
    before = network.fullconv.weight.detach().clone()  # type: ignore[union-attr, operator]
    says = initial.copy_into(network, ("class2", "new", "class0"), USUAL)
    after, source = network.state_dict()["fullconv.weight"], initial.tensors["fullconv.weight"]
    assert torch.equal(after[:, 0], source[:, 2]) and torch.equal(after[:, 2], source[:, 0])
    assert torch.equal(after[:, 1], before[:, 1])
    assert says[1] == "init: the head (fullconv) is replaced, 4 classes by 3, those of class2, class0 kept"


def test_as_many_classes_of_other_names_are_other_classes(four_classes: Path) -> None:
    initial = InitialWeights.read(str(four_classes))
    network = build_network("enet", 4)
    initial.copy_into(network, ("a", "b", "c", "d"), USUAL)
    assert not torch.equal(network.state_dict()["fullconv.weight"], initial.tensors["fullconv.weight"])
    says = initial.copy_into(network, initial.metadata.classes, Normalisation(mean=(0, 0, 0)))
    assert torch.equal(network.state_dict()["fullconv.weight"], initial.tensors["fullconv.weight"])
    assert says[1] == "init: the head is kept, the classes are the same"
    assert says[2] == "init: those weights were trained with another normalisation than this recipe's"


@pytest.mark.parametrize("name", ["enet", "espnet"])
def test_an_encoder_starts_from_a_whole_network_and_the_reverse(
    name: str, random_network: Callable[..., Any], metadata_of: Callable[..., ModelMetadata]
) -> None:
    whole = random_network(name, 5)
    initial = InitialWeights("whole", whole.state_dict(), metadata_of(whole))
    encoder = build_encoder(build_network(name, 3))
    initial.copy_into(encoder, ("a", "b", "c"), USUAL)
    reverse = InitialWeights("encoder", encoder.state_dict(), metadata_of(encoder))
    other = build_network(name, 3)
    reverse.copy_into(other, ("a", "b", "c"), USUAL)
    first = next(key for key in whole.state_dict() if key.startswith("encoder."))
    assert torch.equal(other.state_dict()[first], whole.state_dict()[first])


def test_a_network_of_which_nothing_fits(four_classes: Path) -> None:
    with pytest.raises(UsageError, match=r"four.safetensors: is of network enet, of which no weight fits espnet"):
        InitialWeights.read(str(four_classes)).copy_into(build_network("espnet", 2), ("a", "b"), USUAL)
    with pytest.raises(UsageError, match="init: There is no packaged model 'enet-camvidd'; did you mean enet-camvid"):
        InitialWeights.read("enet-camvidd")


def test_a_run_starts_from_them_and_says_so_once(
    four_classes: Path,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With everything but the head frozen the body is still that of the file; resuming does not need it."""
    parts = ["encoder.*", "up?.*", "stage?.*"]
    recipe = make_recipe(init=str(four_classes), stages=[make_stage("one", epochs=1, freeze=parts, ema=None)])
    best = Run(recipe, str(tiny_data), tmp_path / "run").execute()
    said = [line for line in capsys.readouterr().err.splitlines() if "init" in line]
    assert len(said) == 2 and all(line.startswith("fleetseg: stage one: init") for line in said)
    source, trained = InitialWeights.read(str(four_classes)).tensors, InitialWeights.read(str(best)).tensors
    body = [key for key in source if not key.startswith("fullconv") and source[key].is_floating_point()]
    assert all(torch.equal(source[key], trained[key]) for key in body)
    four_classes.unlink()
    Run(recipe, str(tiny_data), tmp_path / "run", resume=True).execute()
    assert "init" not in capsys.readouterr().err


def test_what_cannot_be_started_from_leaves_no_folder(
    make_recipe: Callable[..., Recipe], tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"absent.safetensors: no such model file"):
        Run(make_recipe(init="absent.safetensors"), str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
