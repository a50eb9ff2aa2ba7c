"""The check of a data set: counts, and every fault reported at once with its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.checking import check_data
from fleetseg.errors import DataError, UnknownNameError, UsageError


def found(report) -> set[tuple[str, str]]:
    """(kind, file's name) of each problem."""
    return {(problem.kind, Path(problem.file).name) for problem in report.problems}


def test_counts_of_a_sound_folder(folder: Path) -> None:
    report = check_data(folder)
    assert report.problems == []
    train, val = report.splits
    assert (train.split, val.split) == ("train", "val")
    assert train.pixels.tolist() == [8, 8 + 24, 4]
    assert (train.unlabelled, train.outside, train.images, train.labels) == (4, 0, 2, 2)
    np.testing.assert_allclose(train.shares(), [100 * 8 / 44, 100 * 32 / 44, 100 * 4 / 44])
    assert train.unlabelled_share() == pytest.approx(100 * 4 / 48)
    assert train.sizes == {(6, 4): 2}


def test_counts_of_sound_camvid(camvid: Path) -> None:
    report = check_data(camvid)
    assert report.problems == []
    pixels = dict(zip(report.labels.names, report.splits[0].pixels.tolist(), strict=True))
    assert {name: count for name, count in pixels.items() if count} == {
        "Sky": 4,
        "Road": 8,
        "Bicyclist": 4,
        "Car": 24,
    }
    assert report.splits[0].unlabelled == 8


def test_counts_of_scenes() -> None:
    report = check_data("scenes:2", ["val"])
    (val,) = report.splits
    assert report.problems == []
    assert val.pixels.sum() + val.unlabelled == 2 * 480 * 360
    assert val.sizes == {(480, 360): 2}


def test_the_json_report_is_plain_and_complete(folder: Path, write_pair) -> None:
    write_pair(folder, "images/val/c.bmp", "labels/val/c.tif", 9)
    report = json.loads(json.dumps(check_data(folder).to_json()))
    assert report["layout"] == "folder"
    assert report["classes"] == ["road", "car", "sky"]
    assert report["splits"]["train"]["pixels"] == {"road": 8, "car": 32, "sky": 4}
    assert report["splits"]["train"]["unlabelled"] == 4
    assert report["splits"]["val"]["outside"] == 24
    assert report["splits"]["val"]["shares"] == {"road": 0, "car": 0, "sky": 0}
    assert report["ok"] is False
    (problem,) = report["problems"]
    assert (problem["split"], problem["kind"]) == ("val", "value outside the classes")
    assert problem["file"] == str(folder / "labels/val/c.tif")


def break_everything(root: Path, images: str, labels: str, write_pair) -> set[tuple[str, str]]:
    """Put one pair of each fault into a split's folders; returns what the check should find."""
    for name in ["nolabel", "noimage", "badimage", "badlabel", "rgb", "outside", "size"]:
        write_pair(root, f"{images}/{name}.png", f"{labels}/{name}.png")
    (root / labels / "nolabel.png").unlink()
    (root / images / "noimage.png").unlink()
    sound = (root / images / "size.png").read_bytes()
    (root / images / "badimage.png").write_bytes(sound[: len(sound) // 2])
    (root / labels / "badlabel.png").write_bytes(b"no image at all")
    Image.new("RGB", (6, 4), (1, 1, 1)).save(root / labels / "rgb.png")
    write_pair(root, f"{images}/outside.png", f"{labels}/outside.png", [[0, 0, 0, 60, 0, 0]] + [[0] * 5 + [61]] * 3)
    write_pair(root, f"{images}/size.png", f"{labels}/size.png", np.zeros((6, 4)))
    return {
        ("image without label", "nolabel.png"),
        ("label without image", "noimage.png"),
        ("unreadable image", "badimage.png"),
        ("unreadable label", "badlabel.png"),
        ("label without class ids", "rgb.png"),
        ("value outside the classes", "outside.png"),
        ("unequal sizes", "size.png"),
    }


def check_messages(report) -> None:
    for problem in report.problems:
        assert Path(problem.file).name in problem.message
        assert "\n" not in problem.message
    (outside,) = (problem for problem in report.problems if problem.kind == "value outside the classes")
    assert "60 (1 px, first at row 0, column 3), 61 (3 px, first at row 1, column 5)" in outside.message


def test_a_folder_with_every_fault(folder: Path, write_pair) -> None:
    expected = break_everything(folder, "images/train", "labels/train", write_pair)
    write_pair(folder, "images/train/twice.png", "labels/train/twice.png")
    write_pair(folder, "images/train/twice.jpg", "labels/train/lossy.jpg")
    write_pair(folder, "images/train/lossy.png", "labels/train/twice.png")
    expected |= {("same name twice", "twice.png"), ("label without class ids", "lossy.jpg")}
    report = check_data(folder)
    assert found(report) == expected
    assert len(report.problems) == len(expected)
    assert {problem.split for problem in report.problems} == {"train"}
    check_messages(report)
    assert report.splits[0].pixels[0] > 8  # what could be read was counted


def test_camvid_with_every_fault(camvid: Path, write_pair) -> None:
    names = [*["nolabel", "noimage", "badimage", "badlabel", "rgb", "outside", "size"], "gone"]
    lines = [f"val/{name}.png valannot/{name}.png\n" for name in names]
    (camvid / "val.txt").write_text("".join(lines))
    expected = break_everything(camvid, "val", "valannot", write_pair)
    expected |= {("missing", "gone.png"), ("label without image", "unlisted.png")}
    write_pair(camvid, "val/unlisted.png", "valannot/unlisted.png")
    (camvid / "val/unlisted.png").unlink()
    report = check_data(camvid, ["val"])
    assert found(report) == expected
    assert len(report.problems) == len(expected)
    check_messages(report)


def test_lists_of_a_folder_are_checked(folder: Path) -> None:
    lines = [
        "images/train/a.png labels/train/a.png",
        "images/train/b.jpg labels/train/none.png",
        "images/train/none.png labels/train/b.png",
        "images/no.png labels/no.png",
    ]
    (folder / "night.txt").write_text("\n".join(lines))
    report = check_data(folder, ["night"])
    assert found(report) == {
        ("image without label", "b.jpg"),
        ("label without image", "b.png"),
        ("missing", "no.png"),
    }
    assert report.splits[0].labels == 1


@pytest.mark.parametrize("content", [b"only-one-word\n", b"", b"a b c\n", b"\xff\xfe\x81 \x82\n"])
def test_a_broken_list_file_is_a_problem_not_the_end(camvid: Path, folder: Path, content: bytes) -> None:
    for root in (camvid, folder):
        (root / "train.txt").write_bytes(content)
        report = check_data(root)
        assert found(report) == {("list file", "train.txt")}
        assert report.splits[1].labels == 1  # val was checked all the same


def test_camvid_without_a_list_file(camvid: Path) -> None:
    (camvid / "val.txt").unlink()
    report = check_data(camvid)
    assert found(report) == {("list file", "val.txt")}
    assert report.splits[1].labels == 1


def test_an_empty_split_is_a_problem(folder: Path) -> None:
    (folder / "images" / "test").mkdir()
    assert [problem.kind for problem in check_data(folder, ["test"]).problems] == ["no images"]


def test_many_wrong_values_are_summed_up(folder: Path, write_pair) -> None:
    write_pair(folder, "images/val/c.bmp", "labels/val/c.tif", np.arange(50, 74).reshape(4, 6))
    (problem,) = check_data(folder).problems
    assert "and 19 more; 0 to 2, and 200 for unlabelled pixels, are expected" in problem.message


def test_progress_is_told(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    check_data(folder, on_image=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_wrong_calls(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'vla'; did you mean val\?"):
        check_data(folder, ["train", "vla"])
    with pytest.raises(UsageError, match="no such data folder"):
        check_data(tmp_path / "nowhere")
    (folder / "classes.yaml").write_text("names: 3\n")
    with pytest.raises(DataError, match=r"classes\.yaml"):
        check_data(folder)


@pytest.mark.shared
def test_camvid_train_has_the_published_counts(shared_camvid: Path) -> None:
    text = (shared_camvid.parent / "README.md").read_text()
    numbers = re.search(r"Train pixels: (.*?); unlabelled\s+([\d,]+)", text, re.DOTALL)
    assert numbers
    expected = [int(number.replace(",", "")) for number in numbers[1].replace("\n", " ").split(" · ")]
    (train,) = check_data(shared_camvid, ["train"]).splits
    assert train.problems == []
    assert train.pixels.tolist() == expected
    assert train.unlabelled == int(numbers[2].replace(",", ""))
    assert train.sizes == {(480, 360): 367}
