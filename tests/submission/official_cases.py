"""Small folders in Cityscapes' layout with predictions: random ones, and those that trip evaluation code up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fleetseg.data import Sample
from fleetseg.data.label_tables import cityscapes_table
from fleetseg.labels import CITYSCAPES_19

HEIGHT, WIDTH = 48, 64
#: Labels that evaluation ignores, those of things that it scores, and the two things that it does not.
IGNORED = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18]
THINGS = [24, 25, 26, 27, 28, 31, 32, 33]
IGNORED_THINGS = [29, 30]
STUFF = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23]
EVERY = sorted(IGNORED + THINGS + IGNORED_THINGS + STUFF)


@dataclass
class Frame:
    """Label ids, instance ids (as in the files) and predicted label ids of one image."""

    labels: np.ndarray
    instances: np.ndarray
    prediction: np.ndarray


Maker = Callable[[np.random.Generator], Frame]


def painted(rng: np.random.Generator, stuff: list[int], things: list[int], objects: int, side: int) -> Frame:
    """Stripes of stuff with rectangles of things, every fourth one a group without a number of its own."""
    labels = np.repeat(rng.choice(stuff, HEIGHT // 4), 4)[:, None].repeat(WIDTH, axis=1).astype(np.int64)
    instances = labels.copy()
    for number in range(objects):
        label = int(rng.choice(things))
        y, x = int(rng.integers(0, HEIGHT)), int(rng.integers(0, WIDTH))
        height, width = rng.integers(1, side + 1, 2)
        place = np.s_[y : y + height, x : x + width]
        labels[place] = label
        instances[place] = label if number % 4 == 3 else label * 1000 + number
    return Frame(labels, instances, labels.copy())


def disturbed(frame: Frame, rng: np.random.Generator, choices: list[int], share: float) -> Frame:
    """The prediction with a share of its pixels replaced."""
    where = rng.random(frame.labels.shape) < share
    frame.prediction[where] = rng.choice(choices, int(where.sum()))
    return frame


def noise(rng: np.random.Generator) -> Frame:
    labels = rng.choice(EVERY, (HEIGHT, WIDTH))
    thing = np.isin(labels, THINGS + IGNORED_THINGS)
    instances = np.where(thing, labels * 1000 + rng.integers(0, 5, labels.shape), labels)
    return Frame(labels, instances, rng.choice(EVERY, (HEIGHT, WIDTH)))


def street(rng: np.random.Generator) -> Frame:
    return disturbed(painted(rng, STUFF + IGNORED, THINGS + IGNORED_THINGS, 20, 14), rng, EVERY, 0.3)


def one_pixel_instances(rng: np.random.Generator) -> Frame:
    return disturbed(painted(rng, STUFF, THINGS, 200, 1), rng, THINGS + STUFF, 0.5)


def only_ignored(rng: np.random.Generator) -> Frame:
    return disturbed(painted(rng, IGNORED, IGNORED_THINGS, 8, 10), rng, EVERY, 0.9)


def few_classes(rng: np.random.Generator) -> Frame:
    """Road, sky and cars; bicycles are only predicted, cars never found."""
    frame = painted(rng, [7, 23], [26], 6, 12)
    frame.prediction[frame.labels == 26] = 33
    return frame


def only_groups(rng: np.random.Generator) -> Frame:
    frame = painted(rng, STUFF, THINGS, 12, 12)
    frame.instances = frame.labels.copy()
    return disturbed(frame, rng, EVERY, 0.2)


def ignored_vehicles_for_cars(rng: np.random.Generator) -> Frame:
    """Trailers and caravans predicted on cars: wrong class, right category for iIoU, none for IoU."""
    return disturbed(painted(rng, STUFF, [26, 27, 28], 20, 12), rng, IGNORED_THINGS, 0.5)


CASES: dict[str, list[Maker]] = {
    "noise": [noise, noise],
    "streets": [street] * 4,
    "one-pixel instances": [one_pixel_instances] * 2,
    "only ignored labels": [only_ignored],
    "an image of ignored labels": [street, only_ignored],
    "few classes": [few_classes] * 2,
    "only groups": [only_groups],
    "ignored vehicles for cars": [ignored_vehicles_for_cars] * 2,
}


def write_case(root: Path, name: str) -> Path:
    """Images, labels and instances of a case in Cityscapes' layout below `root`; returns the predictions' folder."""
    rng = np.random.default_rng(sorted(CASES).index(name))
    predictions = root / "predictions"
    folders = [root / "leftImg8bit" / "val" / "ulm", root / "gtFine" / "val" / "ulm", predictions]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number, make in enumerate(CASES[name]):
        frame, stem = make(rng), f"ulm_{number:06d}_000019"
        image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(image).save(folders[0] / f"{stem}_leftImg8bit.png")
        Image.fromarray(frame.labels.astype(np.uint8)).save(folders[1] / f"{stem}_gtFine_labelIds.png")
        Image.fromarray(frame.instances.astype(np.uint16)).save(folders[1] / f"{stem}_gtFine_instanceIds.png")
        Image.fromarray(frame.prediction.astype(np.uint8)).save(predictions / f"{stem}_labelIds.png")
    return predictions


class Frames:
    """The images of a case, read in the plainest way."""

    name, split, labels = "cityscapes", "val", CITYSCAPES_19

    def __init__(self, root: Path) -> None:
        self._labels = sorted((root / "gtFine" / "val").rglob("*_labelIds.png"))
        self._images = sorted((root / "leftImg8bit" / "val").rglob("*.png"))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image, label = self.paths(index)
        mask = cityscapes_table()[np.asarray(Image.open(label))].astype(np.uint8)
        return Sample(np.asarray(Image.open(image)), mask, image.stem)

    def paths(self, index: int) -> tuple[Path, Path]:
        return self._images[index], self._labels[index]

    def instances(self, index: int) -> np.ndarray:
        path = self._labels[index]
        values = np.asarray(Image.open(path.with_name(path.name.replace("labelIds", "instanceIds"))), np.int32)
        return np.where(values > 1000, values, 0)
