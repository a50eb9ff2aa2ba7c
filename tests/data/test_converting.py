"""Any layout becomes a folder of indexed PNGs that reads the same; contact sheets show images and classes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fleetseg.cli import main
from fleetseg.data import open_dataset
from fleetseg.data.contact_sheet import contact_sheet
from fleetseg.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("writer", "split"),
    [
        ("cityscapes", "val"),
        ("mapillary", "train"),
        ("voc", "val"),
        ("coco", "train2017"),
        ("coco_panoptic", "val2017"),
        ("sunrgbd", "train"),
        ("camvid_original", "test"),
    ],
)
def test_what_is_written_reads_the_same(writer: str, split: str, official: ModuleType, tmp_path: Path, capsys) -> None:
    source = getattr(official, writer)(tmp_path / "source")
    out = tmp_path / "out"
    assert main(["data", "convert", str(source), "--out", str(out), "--split", split, "--json"]) == 0
    before, after = open_dataset(source, split), open_dataset(out, split)
    assert json.loads(capsys.readouterr().out)["splits"] == {split: len(before)}
    assert after.labels == before.labels
    for index in range(len(before)):
        assert np.array_equal(after[index].image, before[index].image)
        assert np.array_equal(after[index].mask, before[index].mask)
    label = next((out / "labels" / split).iterdir())
    with Image.open(label) as file:
        assert file.mode == "P"
        assert file.getpalette()[: 3 * before.labels.num_classes] == np.ravel(before.labels.palette).tolist()
    assert main(["data", "check", str(out)]) == 0


def test_nothing_is_overwritten(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["data", "convert", str(folder), "--out", str(folder)]) == 2
    assert "holds a data set already" in capsys.readouterr().err


def test_a_contact_sheet_shows_images_beside_their_labels(folder: Path) -> None:
    train = open_dataset(folder, "train")
    sheet = contact_sheet(train, count=2, columns=2, width=60)
    # a.png is (10, 20, 30) everywhere; its overlay has other colours where it is labelled.
    left = sheet[6 + 18 + 20, 6 + 30]
    assert left.tolist() == [10, 20, 30]
    right = sheet[6 + 18 + 20, 6 + 60 + 5]
    road = np.array(train.labels.palette[0])
    np.testing.assert_allclose(right, 0.4 * left + 0.6 * road, atol=1.5)
    assert sheet.shape[1] >= 2 * 2 * 60


def test_view_writes_a_png(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "sheet.png"
    assert main(["data", "view", str(folder), "--out", str(out), "--count", "5"]) == 0
    assert "2 of 2 images" in capsys.readouterr().out
    assert Image.open(out).size[0] > 320
    assert main(["data", "view", str(folder), "--out", str(tmp_path / "sheet.jpg")]) == 2
    with pytest.raises(UsageError):
        open_dataset(folder, "nights")


def test_duplicates_across_splits_and_empty_classes_are_found(folder: Path, capsys) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (4, 6, 3), dtype=np.uint8)).save(
        folder / "images/train/a.png"
    )
    twin = folder / "images/val/c.bmp"
    Image.open(folder / "images/train/a.png").save(twin)
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "duplicate across splits" in said
    assert "a.png" in said and "c.bmp" in said
    assert "val: no pixel of road, car" in said


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_is_not_converted_into_itself(
    linked: bool, official: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = official.camvid_original(tmp_path / "camvid")
    if linked:
        for number, place in enumerate([path for path in root.iterdir() if path.is_dir()]):
            place.rename(tmp_path / str(number))
            place.symlink_to(tmp_path / str(number))
    before = sorted(root.rglob("*"))
    assert main(["data", "convert", str(root), "--out", str(root)]) == 2
    assert "name a new one" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before
