"""Draw docs/images/overlay.png: a built-in scene the packaged weights never saw, beside its segmentation.

python tools/readme_picture.py [INDEX]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import fleetseg
from fleetseg.data.scene_dataset import Scenes
from fleetseg.image import overlay, with_legend, write_png

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "overlay.png"


def main(index: int) -> None:
    """Scene `index` of the validation split, at 640×400."""
    sample = Scenes("val", index + 1, (640, 400))[index]
    model = fleetseg.load("enet-camvid")
    mask = model(sample.image)
    gap = np.full((sample.image.shape[0], 8, 3), 255, np.uint8)
    pair = np.concatenate((sample.image, gap, overlay(sample.image, mask, model.labels, 0.6)), axis=1)
    write_png(TARGET, with_legend(pair, model.labels))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
