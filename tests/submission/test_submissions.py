"""Archives as the servers want them, and everything that they would refuse."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetseg.data import Sample
from fleetseg.data.label_tables import named_classes
from fleetseg.errors import DataError, UnknownNameError, UsageError
from fleetseg.labels import CITYSCAPES_19, LabelSet
from fleetseg.submission import check_submission, format_named, write_submission

NAMES = {
    "cityscapes": ["berlin_000000_000019_leftImg8bit", "sankt-augustin_000001_000019_leftImg8bit"],
    "voc": ["2008_000001", "2012_004331"],
}
CLASSES = {"cityscapes": CITYSCAPES_19, "voc": named_classes("voc")}


class Unlabelled:
    """Two images of a benchmark's test split, 24×16 and 20×16."""

    split = "test"

    def __init__(self, name: str, names: list[str]) -> None:
        self.name, self._names = name, names
        self.labels: LabelSet = CLASSES.get(name, CITYSCAPES_19)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        image = np.full((16, 24 - 4 * index, 3), index, np.uint8)
        return Sample(image, np.full(image.shape[:2], 255, np.uint8), self._names[index])


def rising(image: np.ndarray) -> np.ndarray:
    """Every class and, at the end, one more that means none."""
    return (np.arange(image[..., 0].size) % 22).reshape(image.shape[:2]).astype(np.uint8)


@pytest.fixture(params=["cityscapes", "voc"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def archive(name: str, tmp_path: Path) -> Path:
    classes = CLASSES[name].names + ("void", "unlabelled", "ignore")[: 22 - CLASSES[name].num_classes]
    path = tmp_path / "new" / "results.zip"
    dataset = Unlabelled(name, NAMES[name])
    assert write_submission(path, format_named(name), dataset, rising, classes) == 2
    return path


def contents(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        return {entry: np.asarray(Image.open(io.BytesIO(archive.read(entry)))) for entry in archive.namelist()}


def test_cityscapes_gets_label_ids_under_the_frames_names(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    dataset = Unlabelled("cityscapes", NAMES["cityscapes"])
    write_submission(path, format_named("cityscapes"), dataset, rising, (*CITYSCAPES_19.names, *["void"] * 3))
    files = contents(path)
    assert list(files) == ["berlin_000000_000019_labelIds.png", "sankt-augustin_000001_000019_labelIds.png"]
    first = files["berlin_000000_000019_labelIds.png"]
    assert first.shape == (16, 24)
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33, 0, 0, 0]
    assert first.ravel()[:22].tolist() == ids


def test_voc_gets_palette_files_in_its_tree(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_submission(
        path, format_named("voc"), Unlabelled("voc", NAMES["voc"]), rising, (*CLASSES["voc"].names, "void")
    )
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [
            f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in NAMES["voc"]
        ]
        file = Image.open(io.BytesIO(archive.read(archive.namelist()[0])))
    assert file.mode == "P" and file.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    assert np.asarray(file).ravel()[:22].tolist() == [*range(21), 0]


def test_equal_predictions_give_equal_archives(name: str, archive: Path, tmp_path: Path) -> None:
    classes = CLASSES[name].names + ("void", "unlabelled", "ignore")[: 22 - CLASSES[name].num_classes]
    other = tmp_path / "other.zip"
    write_submission(other, format_named(name), Unlabelled(name, NAMES[name]), rising, classes)
    assert other.read_bytes() == archive.read_bytes()


def test_a_folder_is_checked_as_the_archive_is(name: str, archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "folder")
    (tmp_path / "folder" / ".DS_Store").write_bytes(b"litter")
    dataset = Unlabelled(name, NAMES[name])
    assert check_submission(tmp_path / "folder", format_named(name), dataset) == 2
    assert check_submission(archive, format_named(name), dataset) == 2


Change = Callable[[dict[str, bytes]], None]


def png(values: np.ndarray, palette: bool) -> bytes:
    file = Image.fromarray(values)
    if palette:
        file.putpalette(list(range(256)) * 3)
    buffer = io.BytesIO()
    file.save(buffer, "PNG")
    return buffer.getvalue()


def lose_one(files: dict[str, bytes]) -> None:
    files.popitem()


def rename_one(files: dict[str, bytes]) -> None:
    name, content = files.popitem()
    files[name.replace("sankt-augustin", "bonn").replace("2012_", "2011_")] = content


def add_text(files: dict[str, bytes]) -> None:
    files["readme.txt"] = b"hello"


def break_one(files: dict[str, bytes]) -> None:
    files[next(iter(files))] = b"\x89PNG no more"


def resize_one(files: dict[str, bytes]) -> None:
    files[next(iter(files))] = png(np.zeros((16, 23), np.uint8), palette=True)


def wrong_value(files: dict[str, bytes]) -> None:
    values = np.zeros((16, 24), np.uint8)
    values[2, 3] = 255
    files[next(iter(files))] = png(values, palette=True)


def colour_one(files: dict[str, bytes]) -> None:
    files[next(iter(files))] = png(np.zeros((16, 24, 3), np.uint8), palette=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lose_one, "1 of 2 predictions are there; .* is missing"),
        (rename_one, "no image of the split has a prediction of this name; names are like"),
        (add_text, r"readme\.txt: no image of the split"),
        (break_one, r"cannot be read as PNG \(broken or another format\)"),
        (resize_one, "is 23×16 but its image is 24×16"),
        (wrong_value, "the value 255 at row 2, column 3 is not allowed"),
        (colour_one, "is stored as RGB; one 8-bit channel is expected"),
    ],
)
def test_what_a_server_would_refuse(name: str, archive: Path, tmp_path: Path, change: Change, sentence: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        files = {entry: opened.read(entry) for entry in opened.namelist()}
    change(files)
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(broken, "w") as writing:
        for entry, content in files.items():
            writing.writestr(entry, content)
    with pytest.raises(DataError, match=sentence) as caught:
        check_submission(broken, format_named(name), Unlabelled(name, NAMES[name]))
    assert str(broken) in str(caught.value) and "\n" not in str(caught.value)


def test_train_ids_are_not_label_ids(tmp_path: Path) -> None:
    for frame in NAMES["cityscapes"]:
        width = 24 if frame.startswith("berlin") else 20
        Image.fromarray(np.full((16, width), 13, np.uint8)).save(tmp_path / f"{frame}.png")
    dataset = Unlabelled("cityscapes", NAMES["cityscapes"])
    assert check_submission(tmp_path, format_named("cityscapes"), dataset) == 2  # 13 is a fence
    Image.fromarray(np.full((16, 24), 1, np.uint8)).save(tmp_path / f"{NAMES['cityscapes'][0]}.png")
    with pytest.raises(DataError, match="not train ids"):
        check_submission(tmp_path, format_named("cityscapes"), dataset)


def test_two_files_for_one_image(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((16, 24), np.uint8)).save(tmp_path / folder / "berlin_000000_000019_x.png")
    with pytest.raises(DataError, match="are for one image"):
        check_submission(tmp_path, format_named("cityscapes"), Unlabelled("cityscapes", NAMES["cityscapes"]))


def test_a_grey_file_is_no_palette_file(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"
    folder.mkdir(parents=True)
    for name, width in zip(NAMES["voc"], (24, 20), strict=True):
        Image.fromarray(np.zeros((16, width), np.uint8)).save(folder / f"{name}.png")
    with pytest.raises(DataError, match="is a grey PNG"):
        check_submission(tmp_path, format_named("voc"), Unlabelled("voc", NAMES["voc"]))


def test_wrong_calls(tmp_path: Path) -> None:
    dataset = Unlabelled("cityscapes", NAMES["cityscapes"])
    form = format_named("cityscapes")
    with pytest.raises(UnknownNameError, match="did you mean cityscapes"):
        format_named("cityscape")
    with pytest.raises(UsageError, match=r"ends in \.zip"):
        write_submission(tmp_path / "out", form, dataset, rising, CITYSCAPES_19.names)
    with pytest.raises(UsageError, match="the network does not fit cityscapes: the network predicts the class 'tram'"):
        write_submission(tmp_path / "a.zip", form, dataset, rising, ("tram",))
    with pytest.raises(DataError, match="Cityscapes' images are called CITY_SEQUENCE_FRAME"):
        write_submission(tmp_path / "a.zip", form, Unlabelled("x", ["holiday"]), rising, CITYSCAPES_19.names)
    with pytest.raises(DataError, match="PASCAL VOC's images are called YEAR_NUMBER"):
        write_submission(tmp_path / "a.zip", format_named("voc"), Unlabelled("x", ["me"]), rising, CLASSES["voc"].names)
    with pytest.raises(UsageError, match="there is no such folder or zip archive"):
        check_submission(tmp_path / "none.zip", form, dataset)
    (tmp_path / "no.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="is no zip archive"):
        check_submission(tmp_path / "no.zip", form, dataset)


def test_a_failure_leaves_no_archive(tmp_path: Path) -> None:
    def fail(_image: np.ndarray) -> np.ndarray:
        raise DataError("broken image")

    out = tmp_path / "a.zip"
    with pytest.raises(DataError, match="broken image"):
        write_submission(
            out, format_named("cityscapes"), Unlabelled("c", NAMES["cityscapes"]), fail, CITYSCAPES_19.names
        )
    assert list(tmp_path.iterdir()) == []
