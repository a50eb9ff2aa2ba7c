"""Searching keys: what is proposed, pruned, resumed and kept. Trainings are played by scripts, but for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

from fleetseg.cli import main
from fleetseg.errors import RecipeError, TrainingError, UsageError
from fleetseg.metrics import Scores
from fleetseg.training import search
from fleetseg.training.recipe import Recipe
from fleetseg.training.search import Search, SearchPlan, trial_figures
from fleetseg.training.search_space import SearchKey, parse_key, read_keys

RATE = "stages.network.optimiser.learning_rate"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a.b=1e-4:1e-2:log", SearchKey("a.b", (), 1e-4, 1e-2, logarithmic=True)),
        ("a=2:8", SearchKey("a", (), 2, 8, whole=True)),
        ("a=0.5:8", SearchKey("a", (), 0.5, 8)),
        ("a=relu, prelu", SearchKey("a", ("relu", "prelu"))),
        ("a=[64, 48], [96, 72]", SearchKey("a", ("[64, 48]", "[96, 72]"))),
    ],
)
def test_keys_are_read(text: str, key: SearchKey) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a", "write KEY=LOW:HIGH"),
        ("a=5", "at least two different choices"),
        ("a=x:y", "'x:y' is no range of numbers"),
        ("a=3:2", "LOW must be below HIGH"),
        ("a=0:2:log", "above 0"),
        ("a=1:2:3", "is no range"),
    ],
)
def test_what_is_no_key_is_said(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_key(text)


def test_keys_are_checked_against_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'stages.0.optimiser.rate'"):
        read_keys("smoke", [], ["stages.encoder.optimiser.rate=1:2"])
    with pytest.raises(RecipeError, match="learning_rate"):
        read_keys("smoke", [], [f"{RATE}=-1.0:2"])
    with pytest.raises(UsageError, match="nothing to search"):
        read_keys("smoke", [], [])
    with pytest.raises(UsageError, match="given twice"):
        read_keys("smoke", [], [f"{RATE}=1e-4:1e-2", f"{RATE}=1e-4:1e-3"])


def scores(miou: float) -> Scores:
    nothing = np.zeros(2)
    return Scores(nothing, nothing, miou, 0.5, 0.5, np.zeros((3, 3), np.int64))


class PlayedRun:
    """Stands for `Run`: four validations, the better the nearer the rate is to 1e-3; what happened is kept."""

    log: ClassVar[list[tuple[float, int]]] = []
    stop_at: ClassVar[tuple[int, BaseException] | None] = None

    def __init__(self, recipe: Recipe, data: str, out: Path, resume: bool) -> None:
        assert resume
        out.mkdir(parents=True, exist_ok=True)
        self.rate = recipe.stages[-1].optimiser.learning_rate
        self.watch: Callable[[str, int, Scores], None] = lambda *_: None
        self.best_miou = -1.0

    def execute(self) -> None:
        for epoch in range(1, 5):
            self.log.append((self.rate, epoch))
            if PlayedRun.stop_at is not None and len(self.log) == PlayedRun.stop_at[0]:
                error = PlayedRun.stop_at[1]
                PlayedRun.stop_at = None
                raise error
            self.best_miou = 0.1 * epoch / (1 + abs(np.log10(self.rate / 1e-3)))
            self.watch("network", epoch, scores(self.best_miou))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> type[PlayedRun]:
    monkeypatch.setattr(search, "Run", PlayedRun)
    monkeypatch.setattr(search, "STARTUP_TRIALS", 3)
    PlayedRun.log, PlayedRun.stop_at = [], None
    return PlayedRun


@pytest.fixture
def plan(make_recipe: Any, tmp_path: Path) -> SearchPlan:
    path = tmp_path / "recipe.yaml"
    path.write_text(make_recipe().to_yaml())
    return SearchPlan(str(path), (), "data", (parse_key(f"{RATE}=1e-5:1e-1:log"),), seed=1)


def quiet(_sentence: str) -> None:
    return


def test_a_runs_folder_is_no_place_for_a_search(plan: SearchPlan, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a training run; choose another --out for the search"):
        Search(plan, tmp_path, False, quiet)
    assert not (tmp_path / "search.json").exists()


def test_missing_data_are_said_before_the_folder_is_made(
    plan: SearchPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", plan.recipe, "--data", str(tmp_path / "gone"), "--key", f"{RATE}=1e-4:1e-2"]
    assert main([*words, "--out", str(tmp_path / "out"), "--json", str(tmp_path)]) == 1
    assert f"{tmp_path}: is a folder, a file's name is needed" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "gone: there is no such data folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_search_prunes_and_keeps_the_best_recipe(played: type[PlayedRun], plan: SearchPlan, tmp_path: Path) -> None:
    trials = Search(plan, tmp_path / "out", False, quiet).run(10)
    figures = trial_figures(trials)
    assert len(figures) == 10
    finished = [one for one in figures if one["state"] == "finished"]
    pruned = [one for one in figures if one["state"] == "pruned"]
    assert finished and pruned and len(finished) + len(pruned) == 10
    assert [one["miou"] for one in finished] == sorted((one["miou"] for one in finished), reverse=True)
    assert figures[0] is finished[0] and all(one["miou"] is None for one in pruned)
    assert len(played.log) < 40  # pruned trials were not trained to their end
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    found = best["stages"][0]["optimiser"]["learning_rate"]
    assert found == pytest.approx(figures[0]["values"][RATE], rel=1e-5)


def test_another_network_in_all_trials(played: type[PlayedRun], plan: SearchPlan, tmp_path: Path) -> None:
    other = replace(plan, network="enet-relu")
    Search(other, tmp_path / "out", False, quiet).run(2)
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert best["network"]["name"] == "enet-relu"
    with pytest.raises(UsageError, match="was started with another recipe, network"):
        Search(plan, tmp_path / "out", True, quiet)


@pytest.mark.parametrize("stop", [2, 9, 14])
def test_an_interrupted_search_ends_as_one_that_was_not(
    played: type[PlayedRun], plan: SearchPlan, tmp_path: Path, stop: int
) -> None:
    straight = trial_figures(Search(plan, tmp_path / "straight", False, quiet).run(6))
    played.log, played.stop_at = [], (stop, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Search(plan, tmp_path / "stopped", False, quiet).run(6)
    assert trial_figures(Search(plan, tmp_path / "stopped", True, quiet).run(6)) == straight


def test_a_training_that_diverges_is_one_failed_trial(
    played: type[PlayedRun], plan: SearchPlan, tmp_path: Path
) -> None:
    played.stop_at = (2, TrainingError("the loss became nan"))
    said: list[str] = []
    figures = trial_figures(Search(plan, tmp_path / "out", False, said.append).run(3))
    assert sorted(one["state"] for one in figures) == ["failed", "finished", "finished"]
    assert "trial 0: failed: the loss became nan" in said


def test_values_that_are_illegal_together_are_one_failed_trial(
    played: type[PlayedRun], plan: SearchPlan, tmp_path: Path
) -> None:
    """A warm-up of up to five epochs, a stage of as few as three."""
    keys = parse_key("stages.network.schedule.warmup_epochs=1,5"), parse_key("stages.network.epochs=3,5")
    said: list[str] = []
    figures = trial_figures(Search(replace(plan, keys=keys), tmp_path / "out", False, said.append).run(12))
    assert {one["state"] for one in figures} >= {"failed", "finished"}
    for one in figures:
        illegal = list(one["values"].values()) == ["5", "3"]
        assert (one["state"] == "failed") == illegal
    assert any(
        "failed: " in sentence and "warmup_epochs is 5 but the stage has 3 epochs" in sentence for sentence in said
    )


def test_a_journal_that_was_cut_goes_on(played: type[PlayedRun], plan: SearchPlan, tmp_path: Path) -> None:
    """As after a kill or on a full disk, in the middle of a line; what is no journal is one sentence."""
    Search(plan, tmp_path / "out", False, quiet).run(2)
    journal = tmp_path / "out" / "study.journal"
    with journal.open("a") as file:
        file.write('{"op_code":')
    assert len(Search(plan, tmp_path / "out", True, quiet).run(3)) == 3
    assert len(Search(plan, tmp_path / "out", True, quiet).run(3)) == 3
    journal.write_text("no\njournal\n")
    with pytest.raises(TrainingError, match=r"study\.journal: is not the journal of a search"):
        Search(plan, tmp_path / "out", True, quiet)


def test_the_lock_of_a_killed_search_is_seen_to_be_old(
    played: type[PlayedRun], plan: SearchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna takes it away after a while, if the link leads to the journal."""
    monkeypatch.chdir(tmp_path)
    storage = Search(plan, Path("out"), False, quiet).study._storage
    lock = storage._backend._lock  # type: ignore[attr-defined]
    lock.acquire()
    assert (tmp_path / "out" / "study.journal.lock").exists()
    lock.release()


def test_a_folder_that_holds_a_search(played: type[PlayedRun], plan: SearchPlan, tmp_path: Path) -> None:
    Search(plan, tmp_path / "out", False, quiet).run(1)
    with pytest.raises(UsageError, match="holds a search already; add --resume"):
        Search(plan, tmp_path / "out", False, quiet)
    other = SearchPlan(plan.recipe, plan.settings, plan.data, plan.keys, seed=2)
    with pytest.raises(UsageError, match="was started with another recipe, network, data, seed or keys"):
        Search(other, tmp_path / "out", True, quiet)


def test_a_real_search_of_two_trials(
    make_recipe: Any, make_stage: Any, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(make_recipe(stages=[make_stage("network", epochs=1, validate_every=1)]).to_yaml())
    words = ["tune", str(recipe), "--data", str(tiny_data), "--out", str(tmp_path / "out"), "--trials", "2"]
    words += ["--key", f"{RATE}=1e-4:1e-2:log", "--key", "network.options.decoder_activation=relu,prelu"]
    assert main([*words, "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert len(figures) == 2 and all(0 < one["miou"] <= 100 for one in figures)
    for one in figures:
        recipe_of_trial = (tmp_path / "out" / f"trial-{one['trial']:04d}" / "recipe.yaml").read_text()
        assert one["values"]["network.options.decoder_activation"] in recipe_of_trial
    assert main(words) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0  # two trials are through: nothing is trained
    assert "finished" in capsys.readouterr().out
