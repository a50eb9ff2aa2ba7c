"""``fleetseg train``: what is wrong is said in one sentence, before any work; the rest ends with the weights' path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fleetseg.cli import main, train

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls ``fleetseg train`` with words; gives exit status, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        status = main(["train", *words])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images to train on, one to validate; two classes, told apart by brightness."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for number in range(count):
            mask = np.zeros((24, 32), np.uint8)
            mask[:, rng.integers(8, 24) :] = 1
            image = np.repeat((mask * 180 + rng.integers(0, 40, mask.shape)).astype(np.uint8)[..., None], 3, axis=2)
            for kind, pixels in (("images", image), ("labels", mask)):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / kind / split / f"{number}.png")
    (root / "classes.yaml").write_text("names: [dark, bright]\n")
    return root


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """One epoch of one step."""
    tree = {
        "name": "quick",
        "network": {"name": "enet"},
        "data": {"workers": 0},
        "precision": "fp32",
        "stages": [{"name": "only", "epochs": 1, "augmentation": {"crop": [32, 24]}, "optimiser": {}}],
    }
    path = tmp_path / "quick.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def one_sentence(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("fleetseg: ")
    return lines[0]


def test_a_run_ends_with_the_path_of_its_best_weights(run: Run, recipe: str, data: Path) -> None:
    status, out, err = run(recipe, "--data", str(data), "--out", "run")
    assert status == 0
    assert out == "run/best.safetensors\n"
    assert Path("run/best.safetensors").is_file()
    train, val, *lines = err.splitlines()
    assert train == "train: 2 images, 0.0 MB decoded, kept in memory"
    assert val == "val: 1 image, 0.0 MB decoded, kept in memory"
    assert lines[0].startswith("only epoch 1/1, loss ")
    assert "mIoU" in lines[0] and "images/s" in lines[0] and lines[0].endswith("0 s left")
    assert lines[1:] == [
        "fleetseg: done; the weights with the best validation mIoU are run/best.safetensors, "
        "the report is run/report.html",
    ]
    # Again, without --data: the run knows what it was trained on.
    status, out, err = run(recipe, "--out", "run", "--resume")
    assert (status, out) == (0, "run/best.safetensors\n")
    one_sentence(err)
    # And the recipe in its folder continues it too.
    assert run("run/recipe.yaml", "--out", "run", "--resume")[0] == 0


def test_ctrl_c_while_the_report_is_written(run: Run, recipe: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is finished: that is said, and its weights' path comes last all the same."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fleetseg.report.write_report", stopped)
    status, out, err = run(recipe, "--data", str(data), "--out", "run")
    assert (status, out) == (0, "run/best.safetensors\n")
    said, done = err.splitlines()[-2:]
    assert said.endswith("not written: stopped; the run is finished, and fleetseg report run writes it")
    assert done == "fleetseg: done; the weights with the best validation mIoU are run/best.safetensors"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["smok", "--out", "r"], "There is no recipe 'smok'; did you mean smoke?"),
        (["absent.yaml", "--out", "r"], "absent.yaml: no such recipe file"),
        (["smoke", "--out", "r", "--set", "epochs=3"], "recipe smoke: unknown key 'epochs'; legal here: name, netw"),
        (["smoke", "--out", "r", "--set", "stages.coarse.epochs=3"], "there is no stage 'coarse'; legal: encoder, "),
        (["smoke", "--out", "r", "--set", "network.name=enett"], "There is no network 'enett'; did you mean enet"),
        (["smoke", "--out", "r", "--set", "network.options.alpha2=1"], "'enet' has no option 'alpha2'; it has: bias"),
        (
            ["smoke", "--out", "r", "--set", "network={name: espnet-c}"],
            "network 'espnet-c' has no encoder to train",
        ),
        (["smoke", "--out", "r", "--set", "seed"], "--set seed: write key=value"),
        (["enet-camvid", "--out", "r"], "recipe enet-camvid names no data; give --data DIR or --data scenes"),
        (["smoke", "--out", "r", "--init", "absent.pth"], "init: absent.pth: no such model file"),
        (
            ["smoke", "--out", "r", "--teacher", "enet-cam"],
            "There is no packaged model 'enet-cam'; did you mean enet-c",
        ),
        (["smoke", "--out", "r", "--set", "stages.network.freeze=[x.*]"], "freeze: 'x.*' matches no parameter of ENet"),
        (["smoke", "--out", "r", "--data", ""], ".: no data set is found in this folder"),
        (["smoke", "--out", "r", "--data", "nowhere"], "nowhere: there is no such data folder"),
        (["smoke", "--out", "r", "--data", "scenes:0"], "'scenes:0': a number above 0"),
        (["smoke", "--out", "r", "--data", "."], "no data set is found in this folder"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(run: Run, words: list[str], sentence: str) -> None:
    before = sorted(Path().iterdir())
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert sentence in one_sentence(err)
    assert sorted(Path().iterdir()) == before


def test_recipes_are_checked_without_torch(tmp_path: Path) -> None:
    """Before anything heavy is imported, so that a typing error costs no seconds."""
    code = (
        "import sys; from fleetseg.cli import main\n"
        "status = main(['train', 'smoke', '--out', 'r', '--set', 'network.options.alpha2=1'])\n"
        "sys.exit(9 if 'torch' in sys.modules else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "has no option 'alpha2'" in one_sentence(done.stderr)


@pytest.mark.parametrize("absent", ["torch", "pytorch_lightning", "tensorboard"])
def test_without_the_extra_the_install_line_is_shown(absent: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = train.importlib.util.find_spec
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None if name == absent else found(name))
    status, _, err = run("smoke", "--out", "r")
    assert status == 2
    assert "pip install 'fleetseg[train]'" in one_sentence(err)
    assert not Path("r").exists()


def test_missing_split(run: Run, recipe: str, data: Path) -> None:
    (data / "images" / "val" / "0.png").unlink()
    (data / "images" / "val").rmdir()
    status, _, err = run(recipe, "--data", str(data), "--out", "r")
    assert status == 2
    assert "'val'" in one_sentence(err)
    assert not Path("r").exists()


def test_empty_training_split(run: Run, recipe: str, data: Path) -> None:
    for path in (data / "images" / "train").iterdir():
        path.unlink()
    status, _, err = run(recipe, "--data", str(data), "--out", "r")
    assert status in (1, 2)
    assert "'train'" in one_sentence(err)


def test_a_folder_that_holds_a_run(run: Run, recipe: str, data: Path) -> None:
    words = [recipe, "--data", str(data), "--out", "run"]
    assert run(*words)[0] == 0
    status, _, err = run(*words)
    assert status == 2
    assert "run: holds a run already; add --resume or choose another --out" in one_sentence(err)
    status, _, err = run(*words, "--resume", "--set", "seed=5")
    assert status == 2
    assert "started with seed = 0, not 5" in one_sentence(err)
    assert run(*words, "--resume")[0] == 0


def test_out_that_cannot_be_written(run: Run, recipe: str, data: Path) -> None:
    Path("file").touch()
    status, _, err = run(recipe, "--data", str(data), "--out", "file/run")
    assert status == 1
    assert "file/run: cannot be written" in one_sentence(err)


def test_a_broken_image_is_named(run: Run, recipe: str, data: Path) -> None:
    (data / "images" / "train" / "1.png").write_bytes(b"no picture")
    status, _, err = run(recipe, "--data", str(data), "--out", "r")
    assert status == 1
    assert "train/1.png" in one_sentence(err)


def test_a_label_outside_the_classes_is_named(run: Run, recipe: str, data: Path) -> None:
    Image.fromarray(np.full((24, 32), 7, np.uint8)).save(data / "labels" / "train" / "1.png")
    status, _, err = run(recipe, "--data", str(data), "--out", "r")
    assert status == 1
    assert "labels/train/1.png" in one_sentence(err) and "7" in err


def test_a_loss_that_explodes(run: Run, recipe: str, data: Path) -> None:
    settings = ["stages.0.epochs=20", "stages.0.optimiser.learning_rate=1e30", "stages.0.schedule.name=constant"]
    words = [word for setting in settings for word in ("--set", setting)]
    status, _, err = run(recipe, "--data", str(data), "--out", "r", *words)
    assert status == 1
    last = err.splitlines()[-1]
    assert last.startswith("fleetseg: stage only, epoch ") and "learning_rate (it is 1e+30)" in last
    assert "Traceback" not in err


def test_the_smoke_recipe_brings_its_own_data(run: Run) -> None:
    words = ["default_data=scenes:2", "precision=fp32", "data.workers=0"]
    words += [f"stages.{stage}.{key}" for stage in ("encoder", "network") for key in ("epochs=1", "batch_size=2")]
    words += [f"stages.{stage}.schedule.warmup_epochs=0" for stage in ("encoder", "network")]
    status, out, _ = run("smoke", "--out", "r", *(word for key in words for word in ("--set", key)))
    assert (status, out) == (0, "r/best.safetensors\n")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_smoke_recipe_as_it_is(tmp_path: Path) -> None:
    """Far above chance, which is below 4 % mIoU: eleven classes, all pixels given to one of them."""
    import csv

    done = subprocess.run(
        [sys.executable, "-m", "fleetseg", "train", "smoke", "--out", "r"],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    with Path("r/history.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert last["stage"] == "network" and float(last["miou"]) > 15
