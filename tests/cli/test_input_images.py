"""Which files are meant, and that no result replaces another or an input."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.cli.input_images import find_images
from fleetseg.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*arguments: str, out: str = "out") -> dict[str, str]:
    """Input → mask."""
    return {str(image.path): str(image.result(".png")) for image in find_images(arguments, Path(out))}


def test_a_file_whatever_its_suffix() -> None:
    touch("a/b.jpg", "c.data")
    assert found("a/b.jpg", "c.data") == {"a/b.jpg": "out/b.png", "c.data": "out/c.png"}


def test_folder_is_searched_with_its_sub_folders_for_images_only() -> None:
    touch("in/b.JPG", "in/a.png", "in/deep/er/a.tiff", "in/notes.txt", "in/.hidden.png", "in/.git/x.png")
    assert found("in") == {
        "in/a.png": "out/a.png",
        "in/b.JPG": "out/b.png",
        "in/deep/er/a.tiff": "out/deep/er/a.png",
    }


def test_several_folders_keep_their_names() -> None:
    touch("left/1.png", "right/1.png")
    assert found("left", "right/") == {"left/1.png": "out/left/1.png", "right/1.png": "out/right/1.png"}


def test_patterns_keep_sub_folders_below_their_fixed_part() -> None:
    touch("in/x/1.png", "in/y/1.png", "in/y/2.jpg", "in/y/z/3.png")
    assert found("in/*/*.png") == {"in/x/1.png": "out/x/1.png", "in/y/1.png": "out/y/1.png"}
    assert found("in/**/*.png")["in/y/z/3.png"] == "out/y/z/3.png"
    assert found("in/y/[0-9].*") == {"in/y/1.png": "out/1.png", "in/y/2.jpg": "out/2.png"}


def test_absolute_patterns(here: Path) -> None:
    touch("in/1.png")
    assert list(found(f"{here}/in/*.png").values()) == ["out/1.png"]


def test_a_file_whose_name_looks_like_a_pattern() -> None:
    touch("a[1].png", "a1.png")
    assert found("a[1].png") == {"a[1].png": "out/a[1].png"}


def test_equal_names_are_numbered() -> None:
    touch("a/1.png", "b/1.png", "b/1.jpg", "c/1_2.png")
    assert list(found("a/1.png", "b/1.png", "b/1.jpg", "c/1_2.png").values()) == [
        "out/1.png",
        "out/1_2.png",
        "out/1_3.png",
        "out/1_2_2.png",
    ]


def test_upper_and_lower_case_are_told_apart() -> None:
    touch("a/Img.png", "b/img.png")
    assert list(found("a/Img.png", "b/img.png").values()) == ["out/Img.png", "out/img_2.png"]


def test_no_mask_takes_the_name_of_an_overlay() -> None:
    touch("in/a.png", "in/a_overlay.png", "in/a_confidence.jpg")
    images = find_images(["in"], Path("out"))
    results = [str(image.result(suffix)) for image in images for suffix in (".png", "_overlay.png", "_confidence.png")]
    assert len(set(results)) == 9


def test_each_file_once() -> None:
    touch("in/a.png")
    assert len(found("in", "in/a.png", "./in/*.png", "in/../in/a.png")) == 1


def test_results_of_an_earlier_run_are_not_inputs() -> None:
    touch("in/a.png", "in/out/a.png", "in/out/a_overlay.png")
    assert found("in", out="in/out") == {"in/a.png": "in/out/a.png"}


def test_inputs_are_never_replaced() -> None:
    touch("in/a.png", "in/b.jpg")
    with pytest.raises(UsageError, match=r"^--out in: would replace the input in/a\.png; use another folder$"):
        find_images(["in"], Path("in"))
    assert found("in/b.jpg", out="in") == {"in/b.jpg": "in/b.png"}


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("nowhere/*.png", r"nowhere/\*\.png: no file matches this pattern"),
        ("empty", r"empty: there are no images in this folder \(\.bif, \.bmp, \.gif, "),
        ("texts", "texts: there are no images in this folder"),
    ],
)
def test_nothing_to_do_is_a_usage_error(argument: str, sentence: str) -> None:
    Path("empty").mkdir()
    touch("texts/a.txt", "good.png")
    with pytest.raises(UsageError, match=f"^{sentence}"):
        find_images(["good.png", argument], Path("out"))
