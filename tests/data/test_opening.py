"""One call opens every layout; a wrong one is told what is understood."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fleetseg.data import CamVid, Folder, Scenes, open_dataset
from fleetseg.data.joined import files_of
from fleetseg.data.opening import available_splits
from fleetseg.errors import UsageError


def test_camvid_by_its_folders(camvid: Path) -> None:
    train = open_dataset(camvid, "train")
    assert isinstance(train, CamVid)
    assert len(train) == 2
    assert train[0].mask.tolist() == [[0, 3, 3, 10, 255, 255]] * 4
    assert len(open_dataset(str(camvid), "val")) == 1
    assert available_splits(camvid) == ("train", "val")


def test_any_list_file_names_a_split_of_camvid(camvid: Path, tmp_path: Path) -> None:
    (camvid / "few.txt").write_text("train/y.png trainannot/y.png\n")
    assert (open_dataset(camvid, "few")[0].mask == 8).all()
    alone = tmp_path / "test-part"
    shutil.copytree(camvid / "val", alone / "test")
    shutil.copytree(camvid / "valannot", alone / "testannot")
    (alone / "test.txt").write_text("test/z.png testannot/z.png\n")
    assert len(open_dataset(alone, "test")) == 1


def test_a_folder_by_its_classes_file(folder: Path) -> None:
    assert isinstance(open_dataset(folder, "val"), Folder)
    assert available_splits(folder) == ("train", "val")


def test_the_word_for_scenes() -> None:
    scenes = open_dataset("scenes:3", "val")
    assert isinstance(scenes, Scenes)
    assert len(scenes) == 3
    assert np.array_equal(scenes[1].image, open_dataset("scenes", "val")[1].image)
    assert len(open_dataset("scenes", "train")) > 3
    assert "train" in available_splits("scenes")


@pytest.mark.parametrize("word", ["scenes:", "scenes:0", "scenes:-3", "scenes:many", "scenes:1:2"])
def test_a_count_that_is_none(word: str) -> None:
    with pytest.raises(UsageError, match=rf"'{word}'.*scenes:100"):
        open_dataset(word, "val")


def test_wrong_folders(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no such data folder"):
        open_dataset(tmp_path / "nowhere", "val")
    with pytest.raises(UsageError, match="this is a file"):
        open_dataset(folder / "classes.yaml", "val")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"empty: .*trainannot/.*classes\.yaml.*scenes") as caught:
        open_dataset(empty, "val")
    assert "\n" not in str(caught.value)
    (folder / "classes.yaml").unlink()
    with pytest.raises(UsageError, match=r"mine/classes\.yaml is missing"):
        open_dataset(folder, "val")


@pytest.mark.parametrize("data", ["camvid", "folder", "scenes"])
def test_a_missing_split_is_a_wrong_call(data: str, request: pytest.FixtureRequest) -> None:
    source = data if data == "scenes" else request.getfixturevalue(data)
    with pytest.raises(UsageError, match=r"valid.*val"):
        open_dataset(source, "valid")


def test_two_splits_of_scenes_are_drawn_not_read() -> None:
    both = open_dataset("scenes:2", "train+test")
    assert len(both) == 4 and files_of(both, 3) == ()


@pytest.mark.shared
def test_shared_camvid(shared_camvid: Path) -> None:
    assert available_splits(shared_camvid) == ("train", "val")
    val = open_dataset(shared_camvid, "val")
    assert len(val) == 101
    assert val[0].image.shape == (360, 480, 3)
