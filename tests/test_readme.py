"""The README's commands and Python session do what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.scenes import render_scene
from fleetseg.labels import CAMVID_11

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
#: Makes the README's trainings short; everything else about them is as printed.
SHORT = [
    "--set", "stages=[{name: one, epochs: 1, batch_size: 2, augmentation: {crop: [64, 48]}}]",
    "--set", "compile=false",
]  # fmt: skip


def commands(first_word: str, within: str = "") -> list[str]:
    """All lines of the README's shell blocks (that say `within`) that start with a word, comments removed."""
    blocks = [block for language, block in BLOCKS if language == "" and within in block]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(first_word)]


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """What the README supposes: a folder `mine`, a drive of pictures, a street."""
    for kind in ("images", "labels"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    (tmp_path / "drive").mkdir()
    (tmp_path / "mine" / "classes.yaml").write_text(f"names: [{', '.join(CAMVID_11.names)}]\n")
    for seed in range(6):
        image, mask = render_scene(seed, 96, 72)
        Image.fromarray(image).save(tmp_path / "mine" / "images" / f"{seed}.png")
        Image.fromarray(mask).save(tmp_path / "mine" / "labels" / f"{seed}.png")
    Image.fromarray(render_scene(7, 96, 72)[0]).save(tmp_path / "drive" / "a.jpg")
    Image.fromarray(render_scene(8)[0]).save(tmp_path / "street.png")
    return tmp_path


def test_the_walk_from_own_images_to_a_network(workplace: Path) -> None:
    walk = commands("fleetseg", within="fleetseg data check")
    assert [line.split()[1] for line in walk] == ["data", "train", "evaluate", "predict"]
    for line in walk:
        words = shlex.split(line)
        result = run(words + SHORT if words[1] == "train" else words, workplace)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert (workplace / "report" / "confusion_matrix.png").is_file()
    assert (workplace / "labelled" / "a_overlay.png").is_file()


def test_the_other_commands_are_real(tmp_path: Path) -> None:
    for line in commands("fleetseg"):
        words = shlex.split(line)
        command = words[1:3] if words[1] == "data" else words[1:2]
        help_text = run(["fleetseg", *command, "--help"], tmp_path).stdout
        assert all(option in help_text for option in words if option.startswith("--")), line


def test_the_python_session(workplace: Path) -> None:
    (session,) = (block for language, block in BLOCKS if language == "python")
    assert len([line for line in session.splitlines() if line.strip()]) <= 10
    result = run([sys.executable, "-c", session], workplace)
    assert re.fullmatch(r"\d+\.\d % road\n", result.stdout), result.stderr
    assert np.array(Image.open(workplace / "overlay.png")).shape == (360, 480, 3)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert commands("make")
    for line in commands("make"):
        assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE)


def test_inline_commands_are_real(tmp_path: Path) -> None:
    """Commands within sentences: the program knows each command and option."""
    inline = re.findall(r"`(fleetseg [^`]+)`", README)
    assert len(inline) >= 4
    for line in inline:
        words = shlex.split(line)
        command = words[1:3] if words[1] == "data" else words[1:2]
        help_text = run(["fleetseg", *command, "--help"], tmp_path).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in help_text, f"{line}: {option}"


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_knows_what_to_do() -> None:
    for line in commands("make"):
        assert run(["make", "--dry-run", line.split()[1]], ROOT).returncode == 0
