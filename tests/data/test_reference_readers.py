"""The official or best-kept readers read the same small folders and find the same labels.

Two of them need other versions of packages than fleetseg and live in environments of their own, named by variables:

    FLEETSEG_CITYSCAPES_PYTHON   python -m venv E; E/bin/pip install 'numpy<2.4' cityscapesscripts   → E/bin/python
    FLEETSEG_DATUMARO_PYTHON     python -m venv E; E/bin/pip install datumaro                        → E/bin/python
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fleetseg.data import open_dataset
from fleetseg.labels import CITYSCAPES_19

ENVIRONMENTS = {"cityscapesscripts": "FLEETSEG_CITYSCAPES_PYTHON", "datumaro": "FLEETSEG_DATUMARO_PYTHON"}


def run(package: str, script: str, *arguments: str) -> None:
    """Run a script in the environment of a package; skip without one."""
    variable = ENVIRONMENTS[package]
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no environment with {package}")
    done = subprocess.run([python, "-W", "ignore", "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


CITYSCAPES = """
import sys, numpy as np
from PIL import Image
from cityscapesscripts.helpers.labels import id2label
from cityscapesscripts.evaluation.instances2dict import instances2dict
labels, instances, out = sys.argv[1:]
ids = np.array(Image.open(labels))
mask = np.vectorize(lambda i: id2label[i].trainId)(ids).astype(int)
(found,) = instances2dict([instances]).values()
sizes = sorted((i["instID"], i["pixelCount"]) for group in found.values() for i in group if i["instID"] > 1000)
np.savez(out, mask=mask, sizes=np.array(sizes))
"""


def test_cityscapesscripts(official: ModuleType, tmp_path: Path) -> None:
    root = official.cityscapes(tmp_path / "set")
    stem = root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine"
    run("cityscapesscripts", CITYSCAPES, f"{stem}_labelIds.png", f"{stem}_instanceIds.png", str(tmp_path / "o.npz"))
    val = open_dataset(root, "val")
    with np.load(tmp_path / "o.npz") as theirs:
        assert np.array_equal(val[0].mask, theirs["mask"] % 256)  # license plates would be −1
        numbers, counts = np.unique(val.instances(0), return_counts=True)
        ours = [(int(n), int(c)) for n, c in zip(numbers, counts, strict=True) if n]
        assert ours == [(int(n), int(c)) for n, c in theirs["sizes"]]


DATUMARO = """
import sys, numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
path, kind, out = sys.argv[1:]
data = Dataset.import_from(path, kind)
names = [c.name for c in data.categories()[AnnotationType.label]]
masks = {}
for item in data:
    height, width = item.media.size
    mask = np.full((height, width), -1)
    for a in sorted((a for a in item.annotations if a.type == AnnotationType.mask), key=lambda a: a.z_order):
        mask[np.asarray(a.image, bool)] = a.label
    masks[item.subset + '/' + item.id.replace('/', '@')] = mask
np.savez(out, names=np.array(names), **masks)
"""


def datumaro(folder: Path, kind: str, out: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Label names and masks (−1 where nothing is) by 'subset/id'."""
    run("datumaro", DATUMARO, str(folder), kind, str(out))
    with np.load(out) as found:
        masks = {key: found[key] for key in found.files if key != "names"}
        return [str(name) for name in found["names"]], masks


def agree(dataset, index: int, names: list[str], theirs: np.ndarray) -> None:
    """Every pixel has the class of the same name; where theirs has none of ours, ours is unlabelled."""
    numbers = {name.lower().replace(" ", ""): number for number, name in enumerate(dataset.labels.names)}
    table = np.array([*(numbers.get(name.lower().replace(" ", ""), 255) for name in names), 255])
    assert np.array_equal(dataset[index].mask, table[theirs])


def test_datumaro_reads_cityscapes(official: ModuleType, tmp_path: Path) -> None:
    root = official.cityscapes(tmp_path / "set")
    names, masks = datumaro(root, "cityscapes", tmp_path / "o.npz")
    key = next(key for key in masks if key.startswith("val/") and "frankfurt_000000_000294" in key)
    # It leaves out what instanceIds number (values above 1000); cityscapesscripts, above, has those too.
    found = masks[key] >= 0
    assert found.mean() > 0.8
    table = {name.replace(" ", ""): number for number, name in enumerate(CITYSCAPES_19.names)}
    theirs = np.array([table.get(name, 255) for name in names])[masks[key]]
    assert np.array_equal(open_dataset(root, "val")[0].mask[found], theirs[found])


def test_datumaro_reads_voc(official: ModuleType, tmp_path: Path) -> None:
    root = official.voc(tmp_path / "set")
    names, masks = datumaro(root / "VOC2012", "voc_segmentation", tmp_path / "o.npz")
    agree(open_dataset(root, "val"), 0, names, masks["val/2007_000033"])


def test_datumaro_reads_mapillary(official: ModuleType, tmp_path: Path) -> None:
    root = official.mapillary(tmp_path / "set", "v2.0")  # of 1.2 alone datumaro misses the other configuration
    names, masks = datumaro(root, "mapillary_vistas", tmp_path / "o.npz")
    key = next(key for key in masks if key.endswith("/b-2"))
    agree(open_dataset(root, "val"), 0, names, masks[key])


def test_datumaro_reads_panoptic_coco(official: ModuleType, tmp_path: Path) -> None:
    root = official.coco_panoptic(tmp_path / "set")
    names, masks = datumaro(root, "coco_panoptic", tmp_path / "o.npz")
    key = next(key for key in masks if key.endswith("000000000007"))
    agree(open_dataset(root, "val"), 0, names, masks[key])


def test_pycocotools_finds_the_same_objects(official: ModuleType, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    root = official.coco(tmp_path / "set")
    reader = coco.COCO(str(root / "annotations/instances_train2017.json"))
    theirs = np.zeros((36, 48), int)
    names = {entry["id"]: entry["name"] for entry in reader.loadCats(reader.getCatIds())}
    train = open_dataset(root, "train")
    for annotation in sorted(reader.loadAnns(reader.getAnnIds(imgIds=1)), key=lambda a: -a["area"]):
        mask = reader.annToMask(annotation).astype(bool)
        theirs[mask] = train.labels.names.index(names[annotation["category_id"]])
    assert np.array_equal(train[0].mask, theirs)


def test_scipy_and_h5py_read_sun_rgbd_as_matlab_would(official: ModuleType, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    scipy_io = pytest.importorskip("scipy.io")
    toolbox = official.sunrgbd(tmp_path / "set") / "SUNRGBDtoolbox"
    split = scipy_io.loadmat(toolbox / "traintestSUNRGBD/allsplit.mat")  # default options, as most code reads it
    assert split["alltest"].ravel()[0][0].startswith("/n/fs/sun3d/data/SUNRGBD/kv2")
    with h5py.File(toolbox / "Metadata/SUNRGBD2Dseg.mat") as file:
        labels = file["SUNRGBD2Dseg"]["seglabel"]
        assert labels.shape == (4, 1)
        theirs = file[labels[0][0]][:].transpose()
    assert np.array_equal(open_dataset(tmp_path / "set", "test")[0].mask, np.where(theirs == 0, 255, theirs - 1))


def test_scipy_reads_sbd_as_published_code_does(official: ModuleType, tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    root = official.voc(tmp_path / "set")
    content = scipy_io.loadmat(tmp_path / "set/benchmark_RELEASE/dataset/cls/2008_000003.mat")
    theirs = content["GTcls"][0]["Segmentation"][0]
    assert np.array_equal(open_dataset(root, "trainaug")[2].mask, theirs)
