"""Writes small folders in the official layouts: their file names, bit depths, palettes and structures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]


def picture(size: tuple[int, int], seed: int) -> Array:
    """(H, W, 3) uint8 noise that no other seed gives."""
    return np.random.default_rng((seed, 77)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def save(path: Path, pixels: Array, palette: bytes | None = None) -> Path:
    """A file of the array's own depth; uint16 as 16-bit PNG, with a palette as palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def voc_palette() -> bytes:
    """VOC's colour rule, by the definition: bit 3i+c of the id is bit 7-i of channel c."""
    colours = np.zeros((256, 3), np.uint8)
    for number in range(256):
        for bit in range(8):
            colours[number, bit % 3] |= ((number >> bit) & 1) << (7 - bit // 3)
    return colours.tobytes()


def random_ids(size: tuple[int, int], ids: list[int], seed: int, dtype: type = np.uint8) -> Array:
    """(H, W) blocks of 4×4 pixels with ids drawn from `ids`, each at least once where there is room."""
    rng = np.random.default_rng((seed, 3))
    width, height = size
    small = rng.choice(ids, (-(-height // 4), -(-width // 4)))
    small.flat[: len(ids)] = ids[: small.size]
    return np.kron(small, np.ones((4, 4), int))[:height, :width].astype(dtype)


CITYSCAPES_SIZE = (64, 32)


def cityscapes(root: Path) -> Path:
    """Two frames of train, one of val, one blank of test, one of train_extra, with instances and coarse labels."""
    frames = {
        ("train", "gtFine"): ["aachen_000000_000019", "aachen_000001_000019"],
        ("val", "gtFine"): ["frankfurt_000000_000294"],
        ("test", "gtFine"): ["berlin_000000_000019"],
        ("train_extra", "gtCoarse"): ["augsburg_000000_000000"],
    }
    number = 0
    for (split, package), names in frames.items():
        for name in names:
            number += 1
            city = name.partition("_")[0]
            save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture(CITYSCAPES_SIZE, number))
            ids = random_ids(CITYSCAPES_SIZE, list(range(34)) if split != "test" else [0, 1, 3], number)
            instances = cityscapes_instances(ids)
            below = root / package / split / city
            save(below / f"{name}_{package}_labelIds.png", ids)
            save(below / f"{name}_{package}_instanceIds.png", instances)
    return root


def cityscapes_instances(ids: Array) -> Array:
    """uint16: 1000 × id + number for cars (26), persons (24) and riders (25), by column half; other ids as they are."""
    instances = ids.astype(np.uint16)
    half = np.arange(ids.shape[1])[None, :] >= ids.shape[1] // 2
    for label in (24, 25):
        instances = np.where(ids == label, label * 1000 + half, instances).astype(np.uint16)
    # A group of cars keeps the plain id, single ones are numbered.
    return np.where((ids == 26) & half, 26003, instances).astype(np.uint16)


def mapillary(root: Path, release: str = "v1.2") -> Path:
    """One image of training, two of validation, one of testing; the configuration in the release's order."""
    import csv
    from importlib import resources

    text = resources.files("fleetseg.data").joinpath("label_maps", f"mapillary_{release}.csv").read_text()
    table = list(csv.DictReader(text.splitlines()))
    counted = {"human--person", "object--vehicle--car", "human--person--individual"}
    labels = [
        {
            "name": row["name"],
            "readable": row["name"].rpartition("--")[2],
            "color": [int(row[c]) for c in ("red", "green", "blue")],
            "instances": row["name"] in counted,
            "evaluate": row["name"] != "void--unlabeled",
        }
        for row in table
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / f"config_{release}.json").write_text(json.dumps({"labels": labels, "version": "1.2", "mapping": "public"}))
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(labels)] = [label["color"] for label in labels]
    size = (80, 48)
    for folder, names in {"training": ["a-1"], "validation": ["b-2", "c_3"], "testing": ["d"]}.items():
        for number, name in enumerate(names):
            save(root / folder / "images" / f"{name}.jpg", picture(size, number + len(name)))
            if folder == "testing":
                continue
            ids = random_ids(size, list(range(len(labels))), number)
            save(root / folder / release / "labels" / f"{name}.png", ids, palette.tobytes())
            upper = np.arange(size[1])[:, None] < size[1] // 2
            save(root / folder / release / "instances" / f"{name}.png", (ids.astype(np.uint16) * 256 + upper))
    return root


def voc(root: Path) -> Path:
    """``VOCdevkit/VOC2012`` with SBD and COCO beside the devkit; returns the devkit's folder."""
    import scipy.io

    voc2012 = root / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_000032"], "val": ["2007_000033"], "test": ["2008_000006"]}
    lists["trainval"] = lists["train"] + lists["val"]
    folder = voc2012 / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    for number, name in enumerate(["2007_000032", "2007_000033", "2008_000006"]):
        save(voc2012 / "JPEGImages" / f"{name}.jpg", picture((60, 40), number))
        if name != "2008_000006":
            ids = random_ids((60, 40), [*range(21), 255], number)
            save(voc2012 / "SegmentationClass" / f"{name}.png", ids, voc_palette())
    sbd = root / "benchmark_RELEASE" / "dataset"
    (sbd / "cls").mkdir(parents=True)
    (sbd / "train.txt").write_text("2007_000032\n2008_000002\n")
    (sbd / "val.txt").write_text("2007_000033\n2008_000003\n")  # the first is VOC's val
    for number, name in enumerate(["2007_000032", "2007_000033", "2008_000002", "2008_000003"]):
        save(sbd / "img" / f"{name}.jpg", picture((60, 40), 10 + number))
        ids = random_ids((60, 40), list(range(21)), 10 + number)
        scipy.io.savemat(sbd / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": ids, "Boundaries": 0}})
    return root / "VOCdevkit"


def coco(root: Path, split: str = "train2017") -> Path:
    """Two images: polygons, uncompressed RLE of a crowd, and one image without objects; also panoptic."""
    size = (48, 36)
    for number in (1, 2):
        save(root / split / f"{number:012d}.jpg", picture(size, number))
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "width": size[0], "height": size[1]} for number in (1, 2)
    ]
    categories = [
        {"id": 1, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
        {"id": 63, "name": "couch", "supercategory": "furniture", "isthing": 1, "color": [0, 82, 0]},
        {"id": 94, "name": "road", "supercategory": "ground", "isthing": 0, "color": [128, 64, 128]},
    ]
    crowd = np.zeros((36, 48), np.uint8)
    crowd[30:34, 2:20] = 1
    annotations = [
        {"id": 11, "image_id": 1, "category_id": 63, "iscrowd": 0, "area": 400.0, "bbox": [4, 4, 20, 20],
         "segmentation": [[4, 4, 24, 4, 24, 24, 4, 24]]},
        {"id": 12, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 36.0, "bbox": [8, 8, 6, 6],
         "segmentation": [[8, 8, 14, 8, 14, 14, 8, 14], [30, 5, 40, 5, 35, 15]]},
        {"id": 13, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 72.0, "bbox": [2, 30, 18, 4],
         "segmentation": {"size": [36, 48], "counts": run_lengths(crowd)}},
    ]  # fmt: skip
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories[:2]}
    (folder / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def coco_panoptic(root: Path, split: str = "val2017") -> Path:
    """One image of two things and a road, 0 between them, in COCO's panoptic layout."""
    size = (48, 36)
    save(root / "images" / split / "000000000007.jpg", picture(size, 7))
    segments = np.zeros((36, 48), np.uint32)
    segments[4:20, 4:20], segments[4:20, 24:40], segments[24:] = 3_226_956, 700, 70_000
    save(
        root / "annotations" / f"panoptic_{split}" / "000000000007.png",
        np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=2).astype(np.uint8),
    )
    info = [
        {"id": 3_226_956, "category_id": 1, "iscrowd": 0, "area": 256, "bbox": [4, 4, 16, 16]},
        {"id": 700, "category_id": 1, "iscrowd": 1, "area": 256, "bbox": [24, 4, 16, 16]},
        {"id": 70_000, "category_id": 149, "iscrowd": 0, "area": 576, "bbox": [0, 24, 48, 12]},
    ]
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "width": 48, "height": 36}],
        "annotations": [{"image_id": 7, "file_name": "000000000007.png", "segments_info": info}],
        "categories": [
            {"id": 149, "name": "road", "supercategory": "ground", "isthing": 0, "color": [128, 64, 128]},
            {"id": 1, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
        ],
    }
    (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root


def run_lengths(mask: Array) -> list[int]:
    """COCO's uncompressed RLE: lengths of 0 and 1 in turn, column by column."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes, len(flat)]).tolist()
    return lengths if flat[0] == 0 else [0, *lengths]


SUN_FRAMES = (
    "SUNRGBD/kv2/kinect2data/000002_2014-05-26",
    "SUNRGBD/kv1/NYUdata/NYU0001",
    "SUNRGBD/xtion/sun3ddata/mit_32/0001",
    "SUNRGBD/realsense/lg/2014_10_22",
)


def sunrgbd(root: Path) -> Path:
    """Four frames: the first is test, the others train, of which the last is val."""
    import h5py
    import scipy.io

    toolbox = root / "SUNRGBDtoolbox"
    (toolbox / "Metadata").mkdir(parents=True)
    (toolbox / "traintestSUNRGBD").mkdir()
    prefix = "/n/fs/sun3d/data/"
    size = (36, 28)
    meta = np.zeros(len(SUN_FRAMES), dtype=[("rgbpath", object), ("rgbname", object)])
    for number, frame in enumerate(SUN_FRAMES):
        save(root / frame / "image" / f"{number:07d}.jpg", picture(size, number))
        meta[number] = (f"{prefix}{frame}/image/{number:07d}.jpg", f"{number:07d}.jpg")
    scipy.io.savemat(toolbox / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    folders = np.array([f"{prefix}{frame}/" for frame in SUN_FRAMES], object)  # with slashes at the end, as there
    split = {"alltest": folders[:1], "alltrain": folders[1:]}
    split["trainvalsplit"] = {"train": folders[1:3], "val": folders[3:]}
    scipy.io.savemat(toolbox / "traintestSUNRGBD" / "allsplit.mat", split)
    with h5py.File(toolbox / "Metadata" / "SUNRGBD2Dseg.mat", "w") as file:
        group = file.create_group("SUNRGBD2Dseg")
        references = group.create_dataset("seglabel", (len(SUN_FRAMES), 1), dtype=h5py.ref_dtype)
        for number in range(len(SUN_FRAMES)):
            target = file.create_dataset(f"#refs#/{number}", data=sun_label(number).T)
            references[number, 0] = target.ref
    return root


def sun_label(number: int) -> Array:
    """(28, 36) 0–37, of the frame."""
    return random_ids((36, 28), list(range(38)), number)


def camvid_original(root: Path) -> Path:
    """A frame of train, one of val and one of test by their released names, all 32 colours in each label."""
    import csv
    from importlib import resources

    text = resources.files("fleetseg.data").joinpath("label_maps", "camvid_32.csv").read_text()
    table = list(csv.DictReader(text.splitlines()))
    colours = np.array([[int(row[c]) for c in ("red", "green", "blue")] for row in table], np.uint8)
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{r} {g} {b}\t\t{row['name']}" for row, (r, g, b) in zip(table, colours.tolist(), strict=True)]
    (root / "label_colors.txt").write_text("\n".join(lines) + "\n")
    for number, name in enumerate(["0001TP_006690", "0016E5_07959", "0001TP_008550"]):
        save(root / "701_StillsRaw_full" / f"{name}.png", picture((96, 72), number))
        ids = random_ids((96, 72), list(range(32)), number)
        save(root / "LabeledApproved_full" / f"{name}_L.png", colours[ids])
    return root
