"""A folder of one's own: splits, samples, and one sentence for each fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data.folder import Folder, folder_splits
from fleetseg.errors import DataError, ImageError, UnknownNameError, UsageError


def test_samples_have_ids_and_255_for_unlabelled(folder: Path) -> None:
    train = Folder(folder, "train")
    assert (len(train), train.name, train.split) == (2, "mine", "train")
    assert train.labels.names == ("road", "car", "sky")
    sample = train[0]
    assert sample.name == "a"
    assert (sample.image.shape, sample.image.dtype) == ((4, 6, 3), np.uint8)
    assert sample.image[1, 1].tolist() == [10, 20, 30]
    assert sample.mask.dtype == np.uint8
    assert sample.mask.tolist() == [[0, 0, 1, 1, 2, 255]] * 4
    assert (Folder(folder, "val")[0].mask == 2).all()
    assert train.paths(1) == (folder / "images/train/b.jpg", folder / "labels/train/b.png")


def test_a_palette_image_is_read_as_indices(folder: Path) -> None:
    label = Image.fromarray(np.full((4, 6), 2, np.uint8))
    label.putpalette([255, 0, 0] * 256)
    label.save(folder / "labels/train/b.png")
    assert (Folder(folder, "train")[1].mask == 2).all()


def test_splits_by_folders_and_by_lists(folder: Path) -> None:
    assert folder_splits(folder) == ("train", "val")
    (folder / "night.txt").write_text("images/val/c.bmp labels/val/c.tif\n")
    assert folder_splits(folder) == ("night", "train", "val")
    assert Folder(folder, "night")[0].name == "c"


@pytest.mark.parametrize(("count", "train", "val"), [(2, 1, 1), (9, 8, 1), (10, 8, 2), (23, 19, 4)])
def test_an_undivided_folder_gives_its_last_fifth_to_val(
    tmp_path: Path, write_pair, count: int, train: int, val: int
) -> None:
    for index in range(count):
        write_pair(tmp_path, f"images/{index:02d}.png", f"labels/{index:02d}.png")
    (tmp_path / "classes.yaml").write_text("names: [a, b, c]\n")
    assert folder_splits(tmp_path) == ("train", "val")
    names = {split: [s.stem for s, _ in Folder(tmp_path, split)._pairs] for split in ("train", "val", "all")}
    assert (len(names["train"]), len(names["val"])) == (train, val)
    assert names["train"] + names["val"] == names["all"] == sorted(names["all"])


def test_one_image_alone_leaves_nothing_to_validate_on(tmp_path: Path, write_pair) -> None:
    write_pair(tmp_path, "images/1.png", "labels/1.png")
    (tmp_path / "classes.yaml").write_text("names: [a, b, c]\n")
    assert len(Folder(tmp_path, "train")) == 1
    with pytest.raises(DataError, match="the split 'val' has no images"):
        Folder(tmp_path, "val")


def test_a_list_comes_before_a_folder_of_its_name(folder: Path) -> None:
    (folder / "train.txt").write_text("images/train/b.jpg labels/train/b.png\n")
    assert [sample.name for sample in (Folder(folder, "train")[i] for i in range(1))] == ["b"]
    assert len(Folder(folder, "train")) == 1


def test_wrong_calls(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: there is no such data folder"):
        Folder(tmp_path / "nowhere", "train")
    with pytest.raises(UnknownNameError, match=r"mine named 'vla'; did you mean val\?"):
        Folder(folder, "vla")
    with pytest.raises(UnknownNameError, match=r"mine named 'all'; did you mean|known: train, val"):
        Folder(folder, "all")
    (folder / "classes.yaml").unlink()
    with pytest.raises(UsageError, match=r"classes\.yaml is missing"):
        Folder(folder, "train")


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("names: [a]\n")
    with pytest.raises(UsageError, match="it has no folder 'images'"):
        Folder(tmp_path, "train")
    (tmp_path / "images" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="the split 'train' has no images"):
        Folder(tmp_path, "train")


def test_an_image_without_a_label_is_named(folder: Path) -> None:
    (folder / "labels/train/b.png").unlink()
    with pytest.raises(DataError, match=r"images/train/b\.jpg: this image has no label; .*labels/train/b\.png"):
        Folder(folder, "train")
    (folder / "labels/train/a.png").unlink()
    with pytest.raises(DataError, match=r"1 more fault"):
        Folder(folder, "train")


def test_a_label_without_an_image_does_no_harm(folder: Path) -> None:
    (folder / "images/train/b.jpg").unlink()
    assert len(Folder(folder, "train")) == 1


def test_a_listed_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "val.txt").write_text("images/val/c.bmp labels/val/gone.tif\n")
    with pytest.raises(DataError, match=r"images/val/c\.bmp: this image has no label; .*gone\.tif"):
        Folder(folder, "val")


def test_a_value_without_a_class_is_named_with_its_place(folder: Path, write_pair) -> None:
    values = [[0, 0, 0, 0, 0, 0], [0, 1, 2, 7, 0, 0], [0] * 6, [200] * 6]
    write_pair(folder, "images/train/a.png", "labels/train/a.png", values)
    with pytest.raises(DataError, match=r"a\.png: the value 7 at row 1, column 3 .*0 to 2, and 200"):
        Folder(folder, "train")[0]


def test_255_is_no_class_where_the_files_use_another_value(folder: Path, write_pair) -> None:
    write_pair(folder, "images/train/a.png", "labels/train/a.png", 255)
    with pytest.raises(DataError, match="the value 255 at row 0, column 0"):
        Folder(folder, "train")[0]


def test_unequal_sizes(folder: Path, write_pair) -> None:
    write_pair(folder, "images/train/a.png", "labels/train/a.png", np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"labels/train/a\.png.*5×4.*6×4"):
        Folder(folder, "train")[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_rgb_label_is_an_error_even_with_equal_channels(folder: Path, mode: str) -> None:
    Image.fromarray(np.ones((4, 6), np.uint8)).convert(mode).save(folder / "labels/train/a.png")
    with pytest.raises(DataError, match=rf"labels/train/a\.png.*{mode}.*indices"):
        Folder(folder, "train")[0]


def test_a_jpeg_label_is_an_error(folder: Path) -> None:
    shutil.move(folder / "labels/train/a.png", folder / "labels/train/kept.txt")
    Image.new("L", (6, 4)).save(folder / "labels/train/a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: a JPEG does not keep class ids"):
        Folder(folder, "train")[0]


def test_a_truncated_image_is_an_error(folder: Path) -> None:
    path = folder / "images/train/a.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImageError, match=r"images/train/a\.png"):
        Folder(folder, "train")[0]
