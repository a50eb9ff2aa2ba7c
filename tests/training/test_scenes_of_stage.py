from __future__ import annotations

import pytest

from fleetseg.training.checks import scenes_of
from fleetseg.training.recipe import Recipe


@pytest.mark.parametrize(("whole", "stage", "wanted"), [(5, None, 5), (5, 9, 9), (5, 0, 0), (0, 9, 0), (0, None, 0)])
def test_a_stage_has_its_own_number_of_scenes_unless_they_are_off(whole: int, stage: int | None, wanted: int) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "network": {"name": "enet"},
            "data": {"scenes": whole},
            "stages": [{"name": "s", "epochs": 1, "scenes": stage}],
        }
    )
    assert scenes_of(recipe.stages[0], recipe) == wanted
