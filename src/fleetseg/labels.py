"""What the numbers in a mask mean: class names, display colours, the ignored value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: In memory, every mask of every data set marks unlabelled pixels with this value, whatever its files use.
IGNORE_INDEX = 255

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """Classes in id order with their RGB colours."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """How many classes there are, the unlabelled value not counted."""
        return len(self.names)

    def colour_table(self) -> npt.NDArray[np.uint8]:
        """(256, 3) uint8 RGB look-up table; ids without a class, the ignored one too, are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return table


def default_palette(count: int) -> tuple[Colour, ...]:
    """`count` distinct RGB colours, each id's bits spread over the channels as in PASCAL VOC's colour map.

    The map's first entry is black, which stands for unlabelled here, so it is left out.
    """
    colours = []
    for class_id in range(1, count + 1):
        rgb = [0, 0, 0]
        for level in range(8):
            bits = class_id >> (3 * level)
            for channel in range(3):
                rgb[channel] |= ((bits >> channel) & 1) << (7 - level)
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)


def label_set(names: Sequence[str], palette: Sequence[Sequence[int]] | None = None) -> LabelSet:
    """Build a `LabelSet`; without a palette the classes get distinct default colours."""
    colours = default_palette(len(names)) if palette is None else tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return LabelSet(tuple(names), colours)


#: The 11 classes of SegNet's copy of CamVid, in its id order (label_maps: colour of each class's main label).
CAMVID_11 = LabelSet(
    names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)

#: Cityscapes' 19 training classes in train-id order.
CITYSCAPES_19 = LabelSet(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)
