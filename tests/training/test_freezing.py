"""Frozen layers stay what they were, their BatchNorm statistics included; the rest moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fleetseg.errors import RecipeError
from fleetseg.models import build_network
from fleetseg.training.freezing import freeze
from fleetseg.training.recipe import Recipe
from fleetseg.training.run import Run


def test_patterns_freeze_parameters_and_norms() -> None:
    network = build_network("enet", 3)
    norms = freeze(network, ["encoder.initial.*", "*.stage1.0.extension.1.0.weight"], "a")
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        "encoder.initial.conv.weight",
        "encoder.initial.conv.bias",
        "encoder.initial.norm_act.0.weight",
        "encoder.initial.norm_act.0.bias",
        "encoder.initial.norm_act.1.weight",
        "encoder.stage1.0.extension.1.0.weight",
    }
    assert norms == {"encoder.initial.norm_act.0", "encoder.stage1.0.extension.1.0"}


def test_a_pattern_without_a_match_and_one_that_matches_all() -> None:
    with pytest.raises(
        RecipeError, match=r"stages.a.freeze: 'decoder.\*' matches no parameter of ENet; .* encoder\.\*"
    ):
        freeze(build_network("enet", 3), ["decoder.*"], "a")
    with pytest.raises(RecipeError, match=r"stages.a.freeze: \['\*'\] match every parameter; nothing is left to train"):
        freeze(build_network("enet", 3), ["*"], "a")


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_frozen_encoder_is_bit_by_bit_what_it_was(
    ema: float | None,
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    """Over epochs and a validation, which switches modes."""
    stages = [
        make_stage("first", epochs=1),
        make_stage("second", epochs=2, validate_every=1, freeze=["encoder.*"], ema=ema),
    ]
    Run(make_recipe(stages=stages), str(tiny_data), tmp_path / "run").execute()
    before, after = (load_file(tmp_path / "run" / "stages" / f"{name}.safetensors") for name in ("first", "second"))
    counters = [key for key in before if key.endswith("num_batches_tracked")]
    same = {key for key in before if torch.equal(before[key], after[key])} - set(counters)
    assert same == {key for key in before if key.startswith("encoder.")} - set(counters)


def test_mistakes_are_found_before_anything_is_written(
    make_recipe: Callable[..., Recipe],
    make_stage: Callable[..., dict[str, Any]],
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(RecipeError, match="matches no parameter of ENet"):
        Run(make_recipe(stages=[make_stage("one", freeze=["nothing"])]), str(tiny_data), tmp_path / "run")
    stage = make_stage("one", loss={"class_weights": [1, 2]})
    with pytest.raises(RecipeError, match=r"stages.one.loss.class_weights has 2 numbers, but the data have 3 classes"):
        Run(make_recipe(stages=[stage]), str(tiny_data), tmp_path / "run")
    assert not (tmp_path / "run").exists()
