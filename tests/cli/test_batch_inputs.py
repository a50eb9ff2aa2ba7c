"""Which images a batch means and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.cli.batch_inputs import find_items
from fleetseg.errors import DataError, FleetsegError, UsageError

pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/a.jpg, in/a.png, in/deep/b.jpg, in/.c.jpg, in/notes.md; more/b.jpg"""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/a.png", "in/deep/b.jpg", "in/.c.jpg", "in/notes.md", "more/b.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def names(here: Path, *arguments: str, out: str = "out") -> dict[str, str]:
    """Input → stem of its results, both below the test's folder."""
    base = f"{here}/"
    items = find_items(arguments, f"{here}/{out}")
    return {item.input.removeprefix(base): item.stem.removeprefix(base) for item in items}


def test_a_folder_keeps_its_sub_folders(here: Path) -> None:
    wanted = {"in/a.jpg": "out/a", "in/a.png": "out/a_2", "in/deep/b.jpg": "out/deep/b"}
    assert names(here, "in") == names(here, f"file://{here}/in") == wanted


def test_results_of_earlier_runs_inside_the_folder_are_no_images(here: Path) -> None:
    Path("in/out").mkdir()
    Path("in/out/a.png").touch()
    assert sorted(names(here, "in", out="in/out")) == ["in/a.jpg", "in/a.png", "in/deep/b.jpg"]


def test_patterns_and_files(here: Path) -> None:
    assert names(here, "in/**/*.jpg") == {"in/a.jpg": "out/a", "in/deep/b.jpg": "out/deep/b"}
    assert names(here, "in/d*/*.jpg", "more/b.jpg") == {"in/deep/b.jpg": "out/deep/b", "more/b.jpg": "out/b"}


def test_a_list_keeps_what_its_images_share_not(here: Path) -> None:
    lines = ["# drives", "in/deep/b.jpg", "", f"{here}/more/b.jpg", "in/deep/b.jpg", "in/gone.jpg"]
    Path("list.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    wanted = {"in/deep/b.jpg": "out/in/deep/b", "more/b.jpg": "out/more/b", "in/gone.jpg": "out/in/gone"}
    assert names(here, "list.txt") == wanted, "once each; what is not there is the workers' to tell"
    Path("one.txt").write_text("in/deep/b.jpg\n")
    assert names(here, "one.txt") == {"in/deep/b.jpg": "out/b"}


@pytest.mark.parametrize(
    ("argument", "kind", "sentence"),
    [
        ("gone", UsageError, "gone: no such file or folder"),
        ("gone.txt", DataError, "gone.txt: cannot be read .it does not exist"),
        ("gone*.png", UsageError, r"gone\*.png: no image matches this pattern"),
        ("none", UsageError, "none: there are no images in this folder"),
        ("empty.txt", UsageError, "empty.txt: there are no images in this list"),
        ("binary.txt", DataError, "binary.txt: is no list of images"),
    ],
)
def test_arguments_without_images(argument: str, kind: type[FleetsegError], sentence: str, here: Path) -> None:
    Path("none").mkdir()
    Path("empty.txt").write_text("# nothing\n")
    Path("binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(kind, match=sentence):
        find_items([argument], str(here / "out"))


def test_inputs_are_never_replaced(here: Path) -> None:
    with pytest.raises(UsageError, match=r"would replace the input .*in/a\.png"):
        find_items(["in/a.png"], str(here / "in"))
