"""How much of an evaluation's time its metrics take, at Cityscapes' size: less than a tenth is wanted.

    python benchmarks/evaluation_metrics.py [MODEL] [--size 2048x1024] [--images 4] [--rounds 3] [--json FILE]

Built-in scenes are drawn at the size and written as PNG files; then each image is read, predicted and counted as
``fleetseg evaluate`` does, and the medians over all of them are printed: reading (image and label), the network, what
is always counted, and each metric that can be asked for beside, with its share of the time. The last line is JSON.
Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

import fleetseg
from fleetseg.data.listing import read_pair
from fleetseg.data.scenes import render_scene
from fleetseg.evaluation import match_classes
from fleetseg.labels import CAMVID_11
from fleetseg.metrics import Borders, BoundaryMatches, CalibrationBins, ConfusionMatrix, TrimapMatrices

#: What may be asked for → the parts of it that are metrics. Both metrics at borders look for them once.
MEASURED = {
    "always counted": ("confusion",),
    "and boundary F1": ("confusion", "borders", "boundary"),
    "and trimap IoU": ("confusion", "borders", "trimap"),
    "all of them": ("confusion", "borders", "boundary", "trimap", "calibration"),
}


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[tuple[Path, Path]]:
    """Scenes as PNG files, image and label."""
    pairs = []
    for seed in range(count):
        image, mask = render_scene(seed, *size)
        pair = folder / f"{seed}.png", folder / f"{seed}_label.png"
        Image.fromarray(image).save(pair[0])
        Image.fromarray(mask).save(pair[1])
        pairs.append(pair)
    return pairs


class Clock:
    """Seconds of each part, one value an image."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block under a name."""
        started = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def median_ms(self) -> dict[str, float]:
        """Median milliseconds an image of each part."""
        return {name: 1000 * statistics.median(values) for name, values in self.seconds.items()}


def measure(model: fleetseg.Model, pairs: list[tuple[Path, Path]], rounds: int) -> dict[str, float]:
    """Median milliseconds an image of each part."""
    clock, matching, num_classes = Clock(), match_classes(model.classes, CAMVID_11), CAMVID_11.num_classes
    total, boundary = ConfusionMatrix(num_classes), BoundaryMatches(num_classes)
    trimap, bins = TrimapMatrices(num_classes), CalibrationBins(num_classes)
    for pair in pairs * rounds:
        with clock.part("reading"):
            image, mask = read_pair(*pair)
        with clock.part("network"):
            found = model.predict(image)
        with clock.part("confusion"):
            target, prediction, _ = matching.apply(mask, found)
            one = ConfusionMatrix(num_classes)
            one.add(target, prediction)
            total.merge(one)
            one.scores().sums()
        with clock.part("borders"):
            borders = Borders.of(target, num_classes)
        with clock.part("boundary"):
            boundary.add(target, prediction, borders)
        with clock.part("trimap"):
            trimap.add(target, prediction, borders)
        confidence = np.full(target.shape, 0.9, np.float32)
        with clock.part("calibration"):
            bins.add(target, prediction, confidence)
    return clock.median_ms()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="enet-camvid", help="a network of CamVid's 11 classes")
    parser.add_argument("--size", default="2048x1024")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    model = fleetseg.load(options.model, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_images(Path(folder), options.images, (width, height))
        model.predict(read_pair(*pairs[0])[0])  # the first run of an engine allocates
        parts = measure(model, pairs, options.rounds)
    image_ms = parts["reading"] + parts["network"]
    # Of the time of an evaluation that measures so much and nothing else.
    shares = {
        what: sum(parts[name] for name in names) / (image_ms + sum(parts[name] for name in names))
        for what, names in MEASURED.items()
    }
    result = {
        "model": options.model,
        "engine": model.engine,
        "size": options.size,
        "images": options.images,
        "rounds": options.rounds,
        "median_ms": {name: round(value, 2) for name, value in parts.items()},
        "metrics_share": {what: round(share, 4) for what, share in shares.items()},
    }
    for name, value in parts.items():
        print(f"{name:12} {value:8.2f} ms")
    for what, share in shares.items():
        print(f"{what}: metrics take {100 * share:.1f}% of the time")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
