"""The wheel as a user gets it: installed alone, without torch, it segments with the packaged weights."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.scenes import render_scene

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clean_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the built wheel and its core dependencies only."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("fleetseg-*.whl")
    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / "bin"
    installed = run(binaries / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return binaries


def test_torch_is_absent(clean_bin: Path, tmp_path: Path) -> None:
    result = run(clean_bin / "python", "-c", "import fleetseg, fleetseg.cli; import torch", cwd=tmp_path)
    assert "ModuleNotFoundError: No module named 'torch'" in result.stderr


@pytest.mark.parametrize("name", ["enet-camvid", "espnet-camvid"])
def test_predicts_at_two_sizes(clean_bin: Path, tmp_path: Path, name: str) -> None:
    sizes = [(480, 360), (227, 131)]
    for index, size in enumerate(sizes):
        Image.fromarray(render_scene(index, *size)[0]).save(tmp_path / f"{index}.png")
    command = [clean_bin / "fleetseg", "predict", name, "0.png", "1.png", "--out", "out", "--size", "native", "--json"]
    result = run(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    for answer, size in zip(answers, sizes, strict=True):
        mask = np.array(Image.open(tmp_path / answer["mask"]))
        assert mask.shape == (size[1], size[0])
        # A street scene has more than one thing in it, and the network must see them.
        assert len(np.unique(mask)) >= 4


def test_evaluate_and_python_interface(clean_bin: Path, tmp_path: Path) -> None:
    result = run(clean_bin / "fleetseg", "evaluate", "enet-camvid", "--data", "scenes:3", "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 3
    code = (
        "import fleetseg, numpy as np; model = fleetseg.load('enet-camvid');"
        "mask = model(np.zeros((50, 70, 3), np.uint8)); print(mask.shape, mask.dtype, model.classes[3])"
    )
    answer = run(clean_bin / "python", "-c", code, cwd=tmp_path)
    assert answer.stdout.strip() == "(50, 70) uint8 Road", answer.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["train", "smoke", "--out", "run"], "training a network"),
        (["models"], "listing the networks' costs"),
    ],
)
def test_what_needs_torch_says_how_to_install_it(
    clean_bin: Path, tmp_path: Path, arguments: list[str], what: str
) -> None:
    result = run(clean_bin / "fleetseg", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip() == f"fleetseg: {what} needs an extra: pip install 'fleetseg[train]'"


def test_help_is_quick(clean_bin: Path, tmp_path: Path) -> None:
    """Under 0.5 s of CPU time; the best of three, since the first writes byte code."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = run(clean_bin / "fleetseg", "--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert result.returncode == 0 and "evaluate" in result.stdout
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5
