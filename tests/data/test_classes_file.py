"""classes.yaml: what is read, and one sentence for each thing that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.data.classes_file import read_classes_file
from fleetseg.errors import DataError, UsageError
from fleetseg.labels import default_palette


def write(folder: Path, text: str) -> Path:
    (folder / "classes.yaml").write_text(text, encoding="utf-8")
    return folder


def test_names_alone(tmp_path: Path) -> None:
    classes = read_classes_file(write(tmp_path, "names: [road, 'no', Gehweg]\n"))
    assert classes.labels.names == ("road", "no", "Gehweg")
    assert classes.labels.palette == default_palette(3)
    assert classes.ignore_index == 255


def test_palette_and_ignore_index(tmp_path: Path) -> None:
    text = "names: [a, b]\npalette: [[1, 2, 3], [255, 0, 9]]\nignore_index: 2\n"
    classes = read_classes_file(write(tmp_path, text))
    assert classes.labels.palette == ((1, 2, 3), (255, 0, 9))
    assert classes.ignore_index == 2


def test_a_missing_file_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"classes\.yaml is missing.*names: \[road, car\]"):
        read_classes_file(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: [a", "not valid YAML"),
        ("- a\n- b\n", "should hold 'names"),
        ("", "should hold 'names"),
        ("names: [a, b]\ncolors: [[1, 2, 3]]\n", "'colors' is no key.*names, palette, ignore_index"),
        ("palette: []\n", "'names' should be a list"),
        ("names: []\n", "1 to 255"),
        (f"names: [{', '.join(f'c{i}' for i in range(256))}]", "1 to 255"),
        ("names: {0: road}\n", "'names' should be a list"),
        ("names: [road, no]\n", "class 1 is False.*quotes"),
        ("names: [road, ' ']\n", "class 1 is ' '"),
        ("names: [road, car, road]\n", "classes 0 and 2 are both called 'road'"),
        ("names: [a, b]\npalette: [[1, 2, 3]]\n", "2 colours.*1 entries"),
        ("names: [a]\npalette: red\n", "1 colours.*'red'"),
        ("names: [a]\npalette: [[1, 2]]\n", r"class 0 is \[1, 2\]"),
        ("names: [a]\npalette: [[1, 2, 256]]\n", r"class 0 is \[1, 2, 256\].*0 to 255"),
        ("names: [a]\npalette: [[1, 2, true]]\n", r"class 0 is"),
        ("names: [a, b]\nignore_index: 1\n", "'ignore_index' is 1, the id of 'b'.*2 to 255"),
        ("names: [a, b]\nignore_index: -1\n", "'ignore_index' is -1.*2 to 255"),
        ("names: [a, b]\nignore_index: none\n", "'ignore_index' is 'none'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        read_classes_file(write(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "classes.yaml"))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot be read as text"):
        read_classes_file(tmp_path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid YAML"):
        read_classes_file(write(tmp_path, "names: !!python/object/apply:os.system ['true']\n"))
