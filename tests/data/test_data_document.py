"""What docs/data.md shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleetseg.cli import main
from fleetseg.data import Folder
from fleetseg.data.class_weights import METHODS
from fleetseg.data.classes_file import read_classes_file
from fleetseg.data.description import read_description
from fleetseg.data.opening import FORMATS
from fleetseg.data.scene_dataset import SPLITS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found[1]


def test_the_python_session_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(block("python"), {})
    said = capsys.readouterr().out
    assert "'Sky', 'Building'" in said
    assert "(360, 480, 3) (360, 480)" in said


def test_the_example_folder_is_a_data_set(tmp_path: Path, write_pair, capsys) -> None:
    (tmp_path / "classes.yaml").write_text(block("yaml"), encoding="utf-8")
    assert read_classes_file(tmp_path).labels.names == ("road", "pavement", "car")
    pairs = re.findall(r"^  (images/\S+)\s+(labels/\S+)$", DOCUMENT, re.MULTILINE)
    assert len(pairs) == 2
    for image, label in pairs:
        write_pair(tmp_path, image, label)
    assert len(Folder(tmp_path, "train")) == len(Folder(tmp_path, "val")) == 1
    assert main(["data", "check", str(tmp_path)]) == 0
    assert "No problems." in capsys.readouterr().out


def test_the_description_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(# mine\.yaml\n.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    described = read_description(tmp_path / "mine.yaml")
    assert described.division is not None and described.division.test == 0.1
    assert described.label_map is not None and described.label_map.drop == ("bird",)
    assert described.format in FORMATS


def test_the_tables_name_what_there_is() -> None:
    for split, (_, count) in SPLITS.items():
        assert f"`{split}` ({count})" in DOCUMENT
    for method in METHODS:
        assert f"| `{method}` |" in DOCUMENT
