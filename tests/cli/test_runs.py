"""``fleetseg runs``: table, JSON and plot of runs, of unfinished ones too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.cli.runs import _endings

HEAD = "stage,epoch,loss,miou,global_accuracy,learning_rate,images_per_second,seconds,validation_seconds\n"


def write_run(folder: Path, rate: float, mious: list[float | None], finished: bool) -> None:
    """A run of an encoder stage and a network stage of four epochs; `mious` are those of the latter."""
    (folder / "stages").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        f"name: {folder.name}\nnetwork: {{name: enet}}\nstages:\n- {{name: encoder, part: encoder, epochs: 1}}\n"
        f"- {{name: network, epochs: 4, optimiser: {{learning_rate: {rate}}}}}\n"
    )
    (folder / "data.json").write_text("{}")
    rows = ["encoder,1,2.0,88.0,90,0.001,5,1800,0"]  # another network's score, which does not count
    for number, miou in enumerate(mious, start=1):
        rows.append(f"network,{number},{1 / number},{'' if miou is None else miou},50,0.001,5,1800,3")
    (folder / "history.csv").write_text(HEAD + "\n".join(rows) + "\n")
    if finished:
        (folder / "stages" / "network.safetensors").touch()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "slow", 0.001, [20.0, 30.0, 28.0, 29.5], finished=True)
    write_run(tmp_path / "deep" / "fast", 0.01, [25.0, None, 45.5], finished=False)
    write_run(tmp_path / "fresh", 0.01, [], finished=False)
    return tmp_path


def test_json_has_the_best_run_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(folder), "--json", "-"]) == 0
    fast, slow, fresh = json.loads(capsys.readouterr().out)
    assert fast["run"].endswith("deep/fast")
    assert (fast["miou"], fast["best_stage"], fast["best_epoch"]) == (45.5, "network", 3)
    assert (fast["epochs"], fast["planned_epochs"], fast["finished"]) == (4, 5, False)
    assert (slow["miou"], slow["best_epoch"], slow["hours"], slow["finished"]) == (30.0, 2, 2.5, True)
    assert slow["differs"] == {"stages.network.optimiser.learning_rate": 0.001}
    assert (fresh["miou"], fresh["best_stage"], fresh["epochs"]) == (None, None, 1)


def test_table_and_plot(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    plot = folder / "out" / "runs.png"
    assert main(["runs", str(folder), "--plot", str(plot)]) == 0
    table = capsys.readouterr().out
    lines = [line for line in table.splitlines() if "enet" in line]
    assert ["deep/fast" in lines[0], "45.50" in lines[0], "4/5" in lines[0]] == [True] * 3
    assert "stages.network.optimiser.learning_rate=0.001" in lines[1]
    with Image.open(plot) as picture:
        assert picture.size[0] > 800


def test_a_narrow_terminal_shows_what_tells_keys_apart(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["runs", str(folder)]) == 0
    assert "learning_rate=0.001 " in " ".join(capsys.readouterr().out.split())
    keys = ("stages.a.loss.c", "stages.b.loss.c", "seed")
    assert _endings(keys) == {"stages.a.loss.c": "a.loss.c", "stages.b.loss.c": "b.loss.c", "seed": "seed"}


def test_one_run_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(folder / "slow"), "--json", "-"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert only["differs"] == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        (["."], "holds no training run; fleetseg train RECIPE --out"),
        ([".", "--plot", "runs.pdf"], "--plot runs.pdf: the plot is a PNG file"),
    ],
)
def test_wrong_calls(words: list[str], sentence: str, refused: Callable[..., None]) -> None:
    refused(["runs", *words], sentence)


def test_a_broken_run_is_named_and_the_others_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "slow" / "history.csv").write_text(HEAD + "network,one,2\n")
    (folder / "fresh" / "recipe.yaml").write_text("name: half\nnetw")
    assert main(["runs", str(folder), "--json", "-"]) == 1
    shown = capsys.readouterr()
    (fast,) = json.loads(shown.out)
    assert fast["run"].endswith("deep/fast")
    recipe, history = shown.err.splitlines()
    assert "fresh/recipe.yaml: " in recipe and "slow/history.csv: is not the history of a run" in history
    assert main(["runs", str(folder / "slow")]) == 1
    assert capsys.readouterr().out == ""
