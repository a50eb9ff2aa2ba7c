"""The official layouts, each as a small folder: what is read, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fleetseg.data import HasInstances, open_dataset
from fleetseg.data.label_tables import cityscapes_categories, cityscapes_ids, rows
from fleetseg.data.opening import available_splits, layout_of
from fleetseg.errors import DataError, FleetsegError, UnknownNameError, UsageError
from fleetseg.labels import CAMVID_11, CITYSCAPES_19

WRITERS = ("cityscapes", "mapillary", "voc", "coco", "coco_panoptic", "sunrgbd", "camvid_original")


@pytest.fixture(scope="module")
def folders(official: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder a layout; not to be changed."""
    base = tmp_path_factory.mktemp("official")
    return {name: getattr(official, name)(base / name) for name in WRITERS}


@pytest.fixture
def own(folders: dict[str, Path], tmp_path: Path):
    """Call with a layout for a copy that may be broken."""

    def copy(name: str) -> Path:
        source = folders[name]
        if name == "voc":
            shutil.copytree(source.parent, tmp_path / "voc")
            return tmp_path / "voc" / source.name
        shutil.copytree(source, tmp_path / name)
        return tmp_path / name

    return copy


def sentence(kind: type[FleetsegError], data: Path, split: str, index: int = 0) -> str:
    """What opening a split and reading a sample says."""
    with pytest.raises(kind) as caught:
        open_dataset(data, split)[index]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_layout_is_found_out(folders: dict[str, Path]) -> None:
    found = {name: layout_of(path) for name, path in folders.items()}
    assert found == {
        "cityscapes": "cityscapes",
        "mapillary": "mapillary",
        "voc": "voc",
        "coco": "coco-instances",
        "coco_panoptic": "coco-panoptic",
        "sunrgbd": "sunrgbd",
        "camvid_original": "camvid-original",
    }


def test_cityscapes_train_ids(folders: dict[str, Path], official: ModuleType) -> None:
    train = open_dataset(folders["cityscapes"], "train")
    assert len(train) == 2
    assert train.labels == CITYSCAPES_19
    sample = train[0]
    assert sample.name == "aachen_000000_000019_leftImg8bit"
    ids = official.random_ids(official.CITYSCAPES_SIZE, list(range(34)), 1)
    # By hand: road 7, sidewalk 8, car 26, bicycle 33; trailer 30 and caravan 29 are not evaluated.
    for label, train_id in {7: 0, 8: 1, 11: 2, 17: 5, 23: 10, 24: 11, 26: 13, 31: 16, 33: 18}.items():
        assert (sample.mask[ids == label] == train_id).all()
    assert (sample.mask[np.isin(ids, [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30])] == 255).all()
    assert np.array_equal(sample.image, official.picture(official.CITYSCAPES_SIZE, 1))


def test_cityscapes_splits_and_instances(folders: dict[str, Path], official: ModuleType) -> None:
    root = folders["cityscapes"]
    assert set(available_splits(root)) >= {"train", "val", "test", "train_extra"}
    assert len(open_dataset(root, "train_extra")) == 1
    assert (open_dataset(root, "test")[0].mask == 255).all()
    assert len(open_dataset(root, "train+train_extra")) == 3
    val = open_dataset(root, "val")
    assert isinstance(val, HasInstances)
    ids = official.random_ids(official.CITYSCAPES_SIZE, list(range(34)), 3)
    stored = official.cityscapes_instances(ids)
    numbers = val.instances(0)
    assert np.array_equal(numbers > 0, stored > 1000)
    left = (ids == 26) & (np.arange(64) < 32)
    assert left.any() and (numbers[left] == 0).all()  # a group
    assert (numbers[(ids == 26) & ~left] == 26003).all()


def test_cityscapes_missing_packages_are_told_apart(own) -> None:
    root = own("cityscapes")
    shutil.rmtree(root / "gtFine")
    assert "gtFine_trainvaltest.zip" in sentence(DataError, root, "val")
    (root / "gtFine").mkdir()
    shutil.rmtree(root / "leftImg8bit")
    assert "gtFine" not in sentence(UsageError, root, "night")
    (root / "gtFine" / "val").mkdir()
    assert "leftImg8bit_trainvaltest.zip" in sentence(DataError, root, "val")


def test_missing_downloads_of_known_splits_are_named(own) -> None:
    root = own("cityscapes")
    shutil.rmtree(root / "gtCoarse")
    assert f"{root / 'gtCoarse' / 'train_extra'} is missing" in (said := sentence(DataError, root, "train_extra"))
    assert "gtCoarse.zip" in said
    for package in ("gtFine", "leftImg8bit"):
        shutil.rmtree(root / package / "test", ignore_errors=True)
    # Its labels are the server's: the images are what is needed.
    assert f"{root / 'leftImg8bit' / 'test'} is missing: the images" in sentence(DataError, root, "test")
    root = own("voc")
    lists = next(root.rglob("ImageSets"))
    for addition in (*root.parent.rglob("benchmark_RELEASE"), *root.parent.rglob("coco")):
        shutil.rmtree(addition)
    assert "SBD (benchmark_RELEASE) is expected" in sentence(DataError, root, "trainaug")
    assert "MS COCO is expected" in sentence(DataError, root, "coco")
    shutil.rmtree(lists)
    assert "VOCtrainval_11-May-2012.tar" in sentence(DataError, root, "train")
    root = own("mapillary")
    for configuration in root.glob("config*.json"):
        configuration.unlink()
    assert "config_v1.2.json is missing" in sentence(DataError, root, "train")


def test_cityscapes_broken_labels(own) -> None:
    root = own("cityscapes")
    label = root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelIds.png"
    ids = np.array(Image.open(label))
    Image.fromarray(ids.astype(np.uint16)).save(label)
    assert "16-bit" in (said := sentence(DataError, root, "val")) and "8-bit grey" in said
    Image.fromarray(np.repeat(ids[..., None], 3, axis=2)).save(label)
    assert "RGB colour" in sentence(DataError, root, "val")
    ids[5, 9] = 77
    Image.fromarray(ids).save(label)
    assert "value 77 at row 5, column 9" in (said := sentence(DataError, root, "val")) and str(label) in said
    label.write_bytes(label.read_bytes()[:60])
    assert "cannot be read" in sentence(DataError, root, "val")
    Image.fromarray(ids[:16] * 0).save(label)
    assert "64×16 but its image" in sentence(DataError, root, "val")
    label.unlink()
    assert "has no label" in (said := sentence(DataError, root, "val")) and str(label) in said


def test_cityscapes_tables() -> None:
    assert list(cityscapes_categories()) == ["flat", "construction", "object", "nature", "sky", "human", "vehicle"]
    assert sum(map(len, cityscapes_categories().values())) == 19
    assert cityscapes_ids()[:19].tolist() == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert [row["name"] for row in rows("cityscapes") if 0 <= int(row["train_id"]) < 19] == list(CITYSCAPES_19.names)


@pytest.mark.parametrize(("release", "classes"), [("v1.2", 65), ("v2.0", 123)])
def test_mapillary(official: ModuleType, tmp_path: Path, release: str, classes: int) -> None:
    root = official.mapillary(tmp_path / "m", release)
    val = open_dataset(root, "val")
    assert (len(val), val.labels.num_classes) == (2, classes)
    ids = official.random_ids((80, 48), list(range(classes + 1)), 0)
    assert np.array_equal(val[0].mask, np.where(ids == classes, 255, ids))
    numbers = val.instances(0)
    assert len(np.unique(numbers[numbers > 0])) >= 2
    assert (numbers[ids == classes] == 0).all()
    mapped = open_dataset(root, "val@cityscapes")
    assert mapped.labels == CITYSCAPES_19
    road = val.labels.names.index("construction--flat--road")
    assert (mapped[0].mask[ids == road] == 0).all()
    bird = val.labels.names.index("animal--bird")
    assert (mapped[0].mask[ids == bird] == 255).all()
    assert len(open_dataset(root, "test")) == 1


def test_mapillary_configuration_is_needed(own) -> None:
    root = own("mapillary")
    (root / "config_v1.2.json").write_text("{")
    assert "config_v1.2.json" in sentence(DataError, root, "val")
    (root / "config_v1.2.json").write_text(json.dumps({"labels": [{"name": "x"}]}))
    assert "color" in sentence(DataError, root, "val")


def test_voc(folders: dict[str, Path], official: ModuleType) -> None:
    root = folders["voc"]
    val = open_dataset(root, "val")
    ids = official.random_ids((60, 40), [*range(21), 255], 1)
    assert np.array_equal(val[0].mask, ids)
    assert np.array_equal(open_dataset(root / "VOC2012", "val")[0].mask, ids)
    assert val.labels.names[:3] == ("background", "aeroplane", "bicycle")
    assert bytes(np.array(val.labels.palette, np.uint8)) == official.voc_palette()[: 21 * 3]
    assert (open_dataset(root, "test")[0].mask == 255).all()


def test_no_val_image_leaks_into_trainaug(folders: dict[str, Path], official: ModuleType) -> None:
    root = folders["voc"]
    trainaug = open_dataset(root, "trainaug")
    assert [trainaug[index].name for index in range(3)] == ["2007_000032", "2008_000002", "2008_000003"]
    # VOC's own mask, with borders, where there is one; SBD's else.
    assert (trainaug[0].mask == 255).any()
    assert np.array_equal(trainaug[1].mask, official.random_ids((60, 40), list(range(21)), 12))
    assert len(open_dataset(root, "sbd")) == 2


def test_vocs_test_images_need_no_labels(own) -> None:
    root = own("voc")
    shutil.rmtree(root / "VOC2012/SegmentationClass")
    assert "SegmentationClass is missing" in sentence(DataError, root, "val")
    assert (open_dataset(root, "test")[0].mask == 255).all()
    image = root / "VOC2012/JPEGImages/2008_000006.jpg"
    image.unlink()
    assert f"{image}: the image file is missing" in sentence(DataError, root, "test")
    shutil.rmtree(image.parent)
    assert "VOC2012test.tar" in sentence(DataError, root, "test")


def test_coco_as_addition_to_voc(own, official: ModuleType) -> None:
    root = own("voc")
    official.coco(root.parent / "coco")
    coco = open_dataset(root, "coco")
    assert len(coco) == 1  # the other image shows none of the 20 classes
    mask = coco[0].mask
    sofa, person = coco.labels.names.index("sofa"), coco.labels.names.index("person")
    assert (mask[5, 5], mask[11, 11], mask[7, 35], mask[0, 0], mask[32, 10]) == (sofa, person, person, 0, 255)
    assert len(open_dataset(root, "trainaug+coco")) == 4
    missing = root.parent / "coco/train2017/000000000001.jpg"
    missing.unlink()
    with pytest.raises(DataError, match="the image is missing") as caught:  # before a training begins, not in it
        open_dataset(root, "coco")
    assert str(missing) in str(caught.value)


def test_voc_faults(own) -> None:
    root = own("voc")
    label = root / "VOC2012/SegmentationClass/2007_000033.png"
    Image.open(label).convert("RGB").save(label)
    assert "palette" in sentence(DataError, root, "val")
    mat = root.parent / "benchmark_RELEASE/dataset/cls/2008_000002.mat"
    mat.write_bytes(b"MATLAB 5.0 MAT-file, broken")
    assert "2008_000002.mat" in (said := sentence(DataError, root, "trainaug", 1)) and "GTcls" in said
    shutil.rmtree(root / "VOC2012" / "SegmentationClass")
    assert "VOCtrainval_11-May-2012.tar" in sentence(DataError, root, "val")


def test_sunrgbd(folders: dict[str, Path], official: ModuleType) -> None:
    root = folders["sunrgbd"]
    train, test = open_dataset(root, "train"), open_dataset(root, "test")
    assert (len(train), len(test)) == (3, 1)
    assert [train[index].name for index in range(3)] == ["0000001", "0000002", "0000003"]
    ids = official.sun_label(1)
    assert np.array_equal(train[0].mask, np.where(ids == 0, 255, ids - 1))
    assert train.labels.num_classes == 37
    assert (len(open_dataset(root, "train_part")), len(open_dataset(root, "val"))) == (2, 1)


def test_sunrgbd_faults(own) -> None:
    root = own("sunrgbd")
    (root / "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat").write_bytes(b"nothing of HDF5")
    assert "HDF5" in sentence(DataError, root, "train")
    (root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat").write_bytes(b"")
    assert "allsplit.mat" in sentence(DataError, root, "train")
    shutil.rmtree(root / "SUNRGBD")
    assert "SUNRGBD.zip" in sentence(DataError, root, "train")


def test_sunrgbd_exported_in_both_layouts(official: ModuleType, tmp_path: Path) -> None:
    handa, choy = tmp_path / "handa", tmp_path / "choy"
    label = official.sun_label(2)
    for root, image, mask in (
        (handa, "SUNRGBD-train_images/img-000001.jpg", "sunrgbd_train_test_labels/img-005051.png"),
        (choy, "image/train/img-000001.jpg", "label37/train/img37labels-000001.png"),
    ):
        official.save(root / image, official.picture((36, 28), 1))
        official.save(root / mask, label)
        train = open_dataset(root, "train")
        assert np.array_equal(train[0].mask, np.where(label == 0, 255, label - 1))


def test_camvid_original(folders: dict[str, Path], official: ModuleType) -> None:
    root = folders["camvid_original"]
    assert [len(open_dataset(root, split)) for split in ("train", "val", "test", "all")] == [1, 1, 1, 3]
    train = open_dataset(root, "train")
    assert train.labels == CAMVID_11
    names = [row["name"] for row in rows("camvid_32")]
    ids = official.random_ids((96, 72), list(range(32)), 0)
    mask = train[0].mask
    for label, wanted in {"SUVPickupTruck": "Car", "LaneMkgsDriv": "Road", "Child": "Pedestrian", "Sky": "Sky"}.items():
        assert (mask[ids == names.index(label)] == CAMVID_11.names.index(wanted)).all()
    assert (mask[ids == names.index("Void")] == 255).all()
    whole = open_dataset(root, "train@32")
    assert whole.labels.num_classes == 31
    assert set(np.unique(whole[0].mask)) == {*range(31), 255}


def test_an_unknown_colour_is_named_with_its_pixel(own) -> None:
    root = own("camvid_original")
    label = root / "LabeledApproved_full/0016E5_07959_L.png"
    pixels = np.array(Image.open(label))
    pixels[7, 11] = (1, 2, 3)
    Image.fromarray(pixels).save(label)
    assert "colour (1, 2, 3) at row 7, column 11" in sentence(DataError, root, "val")


def test_coco_instances(folders: dict[str, Path]) -> None:
    train = open_dataset(folders["coco"], "train")
    assert train.labels.names == ("background", "person", "couch")
    mask = train[0].mask
    assert (mask[0, 0], mask[6, 6], mask[10, 10], mask[7, 35], mask[32, 5]) == (0, 2, 1, 1, 1)
    assert (train[1].mask == 0).all()
    assert available_splits(folders["coco"]) == ("train2017", "train")


def test_coco_panoptic(folders: dict[str, Path]) -> None:
    val = open_dataset(folders["coco_panoptic"], "val")
    assert val.labels.names == ("person", "road")
    mask, numbers = val[0].mask, val.instances(0)
    assert (mask[0, 0], mask[10, 10], mask[10, 30], mask[30, 3]) == (255, 0, 0, 1)
    assert (numbers[10, 10], numbers[10, 30], numbers[30, 3]) == (3_226_956, 0, 0)  # the second is a crowd


def test_coco_faults(own) -> None:
    root = own("coco")
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 5
    path.write_text(json.dumps(content))
    assert "unknown category 5" in sentence(DataError, root, "train")
    path.write_text(path.read_text()[:-40])
    assert "no valid JSON (line 1" in sentence(DataError, root, "train")
    path.write_text("[]")
    assert "categories" in sentence(DataError, root, "train")


def test_coco_without_an_image_says_where_it_belongs(own) -> None:
    image = own("coco") / "train2017/000000000001.jpg"
    image.unlink()
    assert f"{image}: the image is missing" in sentence(DataError, image.parents[1], "train")
    shutil.rmtree(image.parent)
    assert f"{image}: the image is missing" in sentence(DataError, image.parents[1], "train")
    image = own("coco_panoptic") / "images/val2017/000000000007.jpg"
    image.unlink()
    assert f"{image}: the image is missing" in sentence(DataError, image.parents[2], "val")


def test_coco_panoptic_names_an_unlisted_segment(own) -> None:
    root = own("coco_panoptic")
    label = root / "annotations/panoptic_val2017/000000000007.png"
    pixels = np.array(Image.open(label))
    pixels[3, 2] = (9, 0, 0)
    Image.fromarray(pixels).save(label)
    assert "row 3, column 2" in sentence(DataError, root, "val")


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_split_is_one_sentence(folders: dict[str, Path], name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"There is no split in .* named 'nights'"):
        open_dataset(folders[name], "nights")


@pytest.mark.parametrize(
    ("name", "split", "module"),
    [("voc", "trainaug", "scipy"), ("sunrgbd", "train", "scipy"), ("coco", "train", "pycocotools")],
)
def test_a_missing_package_is_the_install_line(
    folders: dict[str, Path], name: str, split: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for loaded in [key for key in sys.modules if key.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    for known in (module, f"{module}.io", f"{module}.mask"):
        monkeypatch.setitem(sys.modules, known, None)
    with pytest.raises(UsageError, match=r"pip install 'fleetseg\[datasets\]'"):
        dataset = open_dataset(folders[name], split)
        [dataset[index] for index in range(len(dataset))]


@pytest.mark.shared
def test_biopsy_patches(shared_folder: Path) -> None:
    root = shared_folder / "biopsy"
    assert layout_of(root) == "biopsy"
    train, val, whole = (open_dataset(root, split) for split in ("train", "val", "all"))
    assert (len(train), len(val), len(whole)) == (7, 1, 8)
    slides = [{dataset.group(index) for index in range(len(dataset))} for dataset in (train, val)]
    assert not slides[0] & slides[1]
    values = set().union(*(np.unique(whole[index].mask).tolist() for index in range(8)))
    assert values == {0, 1, 2, 3, 4, 5, 6}


@pytest.mark.shared
def test_the_package_knows_the_shared_facts(shared_folder: Path) -> None:
    import csv

    facts = {row["id"]: row for row in csv.DictReader((shared_folder / "label_maps/cityscapes.csv").open())}
    for row in rows("cityscapes"):
        assert (row["name"], row["train_id"], row["category"]) == tuple(
            facts[row["id"]][key] for key in ("name", "trainId", "category")
        )
    for version in ("v12", "v20"):
        table = list(csv.DictReader((shared_folder / f"label_maps/mapillary_{version}_to_cityscapes.csv").open()))
        ours = rows(f"mapillary_{version[0:2]}.{version[2]}")
        assert [(row["name"], row["train_id"]) for row in table] == [(row["name"], row["train_id"]) for row in ours]
