"""The commands of docs/fine-tuning.md lead from a folder to a compiled, timed network, as it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.data.scenes import render_scene
from fleetseg.labels import CAMVID_11

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
#: Makes the training short and the timing rough; everything else is as printed.
SHORT = {
    "train": [
        f"--set={key}"
        for stage in ("head", "whole")
        for key in (
            f"stages.{stage}.epochs=1",
            f"stages.{stage}.augmentation.crop=[64, 48]",
            f"stages.{stage}.schedule.warmup_epochs=0",
            "precision=fp32",
        )
    ],
    "benchmark": ["--trials", "1", "--threads", "1"],
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scenes whose classes are merged into three of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    table = np.zeros(256, np.uint8)
    for name, number in (("Road", 1), ("Pavement", 1), ("Car", 2)):
        table[CAMVID_11.names.index(name)] = number
    for seed in range(6):
        image, mask = render_scene(seed, 96, 72)
        for kind, pixels in (("images", image), ("labels", table[mask])):
            (tmp_path / "mine" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "mine" / kind / f"{seed}.png")
    (tmp_path / "mine" / "classes.yaml").write_text("names: [other, ground, Car]\n")
    return tmp_path


@pytest.mark.timeout(900)
def test_five_commands(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    walk = [shlex.split(line) for line in block.splitlines()]
    assert [words[:2] for words in walk] == [
        ["fleetseg", verb] for verb in ("data", "train", "evaluate", "compile", "benchmark")
    ]
    said = {}
    for words in walk:
        verb = words[1]
        small = [word.replace("480x360", "96x72") for word in words[1:]]
        assert main([*small, *SHORT.get(verb, [])]) == 0, words
        shown = capsys.readouterr()
        said[verb] = shown.out + shown.err
    kept = re.search(r"stage head: init enet-camvid: (\d+) of (\d+) tensors below the head are kept", said["train"])
    assert kept and kept[1] == kept[2] and f"{kept[1]} of {kept[2]} tensors" in PAGE
    head = "stage head: init: the head (fullconv) is replaced, 11 classes by 3"
    assert f"{head}, those of Car kept" in said["train"] and head in PAGE
    assert Path("report/confusion_matrix.png").is_file()
    (description,) = (json.loads(path.read_text()) for path in Path("compiled").glob("*.json"))
    assert tuple(description["metadata"]["classes"]) == ("other", "ground", "Car")
    assert "native" in said["benchmark"] and "onnxruntime" in said["benchmark"]
