"""Exports of annotation programs: labelme, CVAT, Label Studio, YOLO polygons; all show the same picture here.

The picture is 40×30: a car from (5, 5) to (20, 15), a road below, a hole of background, one ignored patch.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fleetseg.data import open_dataset
from fleetseg.data.label_studio import decode_brush
from fleetseg.data.opening import layout_of
from fleetseg.errors import DataError

SIZE = (40, 30)
CAR = [(5, 5), (20, 5), (20, 15), (5, 15)]
ROAD = [(0, 20), (39, 20), (39, 29), (0, 29)]


def expected() -> np.ndarray:
    """background 0, car 1, road 2."""
    mask = np.zeros((30, 40), np.uint8)
    mask[20:, :] = 2
    mask[5:16, 5:21] = 1
    return mask


def pictures(official: ModuleType, folder: Path, count: int = 5) -> None:
    for number in range(count):
        official.save(folder / f"{number}.png", official.picture(SIZE, number))


def labelme_file(number: int, shapes: list[dict]) -> str:
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, "description": "", **shape} for shape in shapes],
        "imagePath": f"{number}.png",
        "imageData": None,
        "imageHeight": SIZE[1],
        "imageWidth": SIZE[0],
    }
    return json.dumps(content)


def labelme(official: ModuleType, root: Path, split: str = "") -> Path:
    pictures(official, root / split)
    shapes = [
        {"label": "road", "points": ROAD, "shape_type": "polygon"},
        {"label": "car", "points": [(5, 5), (20, 15)], "shape_type": "rectangle"},
    ]
    for number in range(5):
        (root / split / f"{number}.json").write_text(labelme_file(number, shapes))
    return root


def cvat(official: ModuleType, root: Path) -> Path:
    pictures(official, root / "images")
    corners = {"road": ROAD, "car": CAR}
    shapes = "".join(
        f'<polygon label="{name}" source="manual" occluded="0" points="{";".join(f"{x}.00,{y}.00" for x, y in points)}"'
        f' z_order="{z}"></polygon>'
        for z, (name, points) in ((1, ("car", corners["car"])), (0, ("road", corners["road"])))
    )
    images = "".join(f'<image id="{n}" name="{n}.png" width="40" height="30">{shapes}</image>' for n in range(5))
    labels = "".join(f"<label><name>{name}</name><color>#fa3253</color></label>" for name in ("car", "road"))
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><job><labels>{labels}'
        f"</labels></job></meta>{images}</annotations>"
    )
    return root


def label_studio(official: ModuleType, root: Path) -> Path:
    pictures(official, root / "images")

    def polygon(name: str, points: list[tuple[int, int]]) -> dict:
        value = {"points": [[100 * x / 40, 100 * y / 30] for x, y in points], "polygonlabels": [name], "closed": True}
        size = {"original_width": 40, "original_height": 30, "image_rotation": 0}
        return {**size, "id": name, "type": "polygonlabels", "from_name": "l", "to_name": "i", "value": value}

    result = [polygon("road", ROAD), polygon("car", CAR)]
    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/8ab3c4d5-{number}.png"},
            "annotations": [
                {"id": 1, "was_cancelled": False, "created_at": "2024-01-02", "result": result},
                {"id": 2, "was_cancelled": True, "created_at": "2024-01-03", "result": []},
            ],
        }
        for number in range(5)
    ]
    (root / "export.json").write_text(json.dumps(tasks))
    return root


def yolo(official: ModuleType, root: Path) -> Path:
    for split in ("train", "val"):
        pictures(official, root / "images" / split)
        (root / "labels" / split).mkdir(parents=True)
        lines = [f"{k} " + " ".join(f"{x / 40} {y / 30}" for x, y in points) for k, points in ((1, ROAD), (0, CAR))]
        for number in range(4):  # the last image has no objects
            (root / "labels" / split / f"{number}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: car\n  1: road\n")
    return root


WRITERS = {"labelme": labelme, "cvat": cvat, "label-studio": label_studio, "yolo": yolo}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_outlines_give_the_same_mask(name: str, official: ModuleType, tmp_path: Path) -> None:
    root = WRITERS[name](official, tmp_path / "set")
    assert layout_of(root) == name
    train = open_dataset(root, "train")
    assert train.labels.names == ("background", "car", "road")
    assert np.array_equal(train[0].mask, expected())
    if name == "yolo":
        assert (train[4].mask == 0).all()
    else:
        assert (len(train), len(open_dataset(root, "val")), len(open_dataset(root, "all"))) == (4, 1, 5)


def test_shapes_of_labelme(official: ModuleType, tmp_path: Path) -> None:
    stencil = np.zeros((4, 6), bool)
    stencil[:, :3] = True
    buffer = io.BytesIO()
    Image.fromarray(stencil).save(buffer, "PNG")
    shapes = [
        {"label": "disc", "points": [(10, 10), (14, 10)], "shape_type": "circle"},
        {"label": "strip", "points": [(0, 25), (39, 25)], "shape_type": "linestrip"},
        {"label": "paint", "points": [(30, 3), (35, 6)], "shape_type": "mask",
         "mask": base64.b64encode(buffer.getvalue()).decode()},
        {"label": "__ignore__", "points": [(36, 0), (39, 2)], "shape_type": "rectangle"},
        {"label": "disc", "points": [(0, 0)], "shape_type": "point"},
    ]  # fmt: skip
    official.save(tmp_path / "0.png", official.picture(SIZE, 0))
    (tmp_path / "0.json").write_text(labelme_file(0, shapes))
    data = open_dataset(tmp_path, "all")
    disc, paint, strip = (data.labels.names.index(name) for name in ("disc", "paint", "strip"))
    mask = data[0].mask
    assert (mask[10, 10], mask[10, 13], mask[10, 15], mask[25, 20], mask[0, 38]) == (disc, disc, 0, strip, 255)
    assert (mask[3:7, 30:33] == paint).all() and (mask[3:7, 33:36] == 0).all()


def test_shapes_of_cvat(official: ModuleType, tmp_path: Path) -> None:
    official.save(tmp_path / "images" / "0.png", official.picture(SIZE, 0))
    (tmp_path / "annotations.xml").write_text(
        '<annotations><image id="0" name="0.png" width="40" height="30" subset="Train">'
        '<box label="a" xtl="2.0" ytl="3.0" xbr="6.0" ybr="5.0" z_order="0"/>'
        '<ellipse label="b" cx="20" cy="10" rx="5" ry="3" z_order="0"/>'
        '<mask label="c" rle="2, 4, 3" left="30" top="20" width="3" height="3" z_order="0"/>'
        '<points label="a" points="1,1"/></image></annotations>'
    )
    data = open_dataset(tmp_path, "train")
    mask = data[0].mask
    assert (mask[3:6, 2:7] == 1).all()
    assert (mask[10, 20], mask[10, 24], mask[14, 20]) == (2, 2, 0)
    assert mask[20:23, 30:33].tolist() == [[0, 0, 3], [3, 3, 3], [0, 0, 0]]


def test_turned_boxes_and_ellipses_of_label_studio(official: ModuleType, tmp_path: Path) -> None:
    official.save(tmp_path / "images" / "0.png", official.picture(SIZE, 0))
    # 12×4 pixels hanging down from (20, 2): turned by 90° about its upper left corner it goes to the left of x = 20.
    box = {"x": 50, "y": 100 * 2 / 30, "width": 30, "height": 100 * 4 / 30, "rotation": 90, "rectanglelabels": ["box"]}
    disc = {"x": 75, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90, "ellipselabels": ["disc"]}
    results = [{"type": kind, "value": value} for kind, value in (("rectanglelabels", box), ("ellipselabels", disc))]
    tasks = [{"id": 1, "data": {"image": "/data/0.png"}, "annotations": [{"id": 1, "result": results}]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    data = open_dataset(tmp_path, "all")
    rows, columns = np.nonzero(data[0].mask == data.labels.names.index("box"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 14, 16, 20)
    rows, columns = np.nonzero(data[0].mask == data.labels.names.index("disc"))
    # Radii of 8 and 3 pixels around (30, 15), upright.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 23, 27, 33)


def brush_code(values: np.ndarray) -> list[int]:
    """Label Studio's code of a flat uint8 array, written by the definition: blocks of at most 16 values or a run."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    place = 0
    while place < len(values):
        end = place
        while end < len(values) and values[end] == values[place]:
            end += 1
        if end - place > 2:
            bits += f"1{3:02b}{end - place - 1:016b}{values[place]:08b}"
        else:
            end = min(place + 2, len(values))
            bits += f"0{0:02b}{end - place - 1:03b}" + "".join(f"{value:08b}" for value in values[place:end])
        place = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[first : first + 8], 2) for first in range(0, len(bits), 8)]


def test_brush_strokes_of_label_studio() -> None:
    mask = np.random.default_rng(1).random((6, 7)) > 0.6
    mask[2:4] = True
    rgba = np.repeat((mask * 255).astype(np.uint8).reshape(-1), 4)
    assert np.array_equal(decode_brush(brush_code(rgba), (7, 6)), mask)


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("labelme", "0.json", "{", "no valid JSON"),
        ("labelme", "0.json", '{"shapes": [{"label": "a"}], "imagePath": "0.png"}', "not as expected"),
        ("cvat", "annotations.xml", "<annotations><image", "no valid XML"),
        ("label-studio", "export.json", '[{"annotations": 3}]', "not as expected"),
        ("yolo", "labels/train/0.txt", "7 0 0 1 1 1 0", "class 7 does not exist"),
        ("yolo", "labels/train/0.txt", "0 0.5 0.5 0.2 0.2", "a box, not a polygon"),
        ("yolo", "labels/train/0.txt", "car 0 0 1 1 1 0", "line 1"),
        ("yolo", "data.yaml", "names: 3\ntrain: images/train\n", "names"),
    ],
)
def test_faults_are_one_sentence(
    name: str, file: str, content: str, said: str, official: ModuleType, tmp_path: Path
) -> None:
    root = WRITERS[name](official, tmp_path / "set")
    (root / file).write_text(content)
    with pytest.raises(DataError) as caught:
        open_dataset(root, "train")[0]
    assert said in str(caught.value)
    assert Path(file).name in str(caught.value)
    assert "\n" not in str(caught.value)
