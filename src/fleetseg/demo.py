"""What `make demo` shows: built-in scenes and one's own images, segmented by the packaged weights, without torch.

python -m fleetseg.demo --scenes 8 --out demo-output [IMAGES…]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import fleetseg
from fleetseg.cli.input_images import find_images
from fleetseg.data.scene_dataset import Scenes
from fleetseg.errors import FleetsegError
from fleetseg.evaluation import Evaluation, evaluate
from fleetseg.image import overlay, read_image, with_legend, write_mask, write_png
from fleetseg.runtime import Model
from fleetseg.runtime.network_size import training_like_size

Picture = npt.NDArray[np.uint8]


class Demo:
    """Segments pictures one by one, writes what people look at and remembers what was found."""

    def __init__(self, model: Model, out: Path) -> None:
        self.model = model
        self.out = out
        self.pixels = np.zeros(model.labels.num_classes, np.int64)
        self.latencies_ms: list[float] = []

    def segment(self, image: Picture, mask_path: Path, overlay_path: Path) -> Picture:
        """Write the mask and the overlay of one picture; returns the mask."""
        seen = training_like_size((image.shape[1], image.shape[0]), self.model.metadata.train_size)
        started = time.perf_counter()
        mask = self.model.predict(image, seen)
        self.latencies_ms.append(1000 * (time.perf_counter() - started))
        counts = np.bincount(mask.ravel(), minlength=len(self.pixels))[: len(self.pixels)]
        self.pixels += counts
        shares = [float(count) / mask.size for count in counts]
        labels = self.model.labels
        write_mask(mask_path, mask, labels)
        write_png(overlay_path, with_legend(overlay(image, mask, labels), labels, shares))
        return mask

    def scenes(self, count: int) -> Evaluation:
        """Segment unseen built-in scenes, whose labels are known, so that the demo ends with a measured accuracy."""
        dataset = Scenes("val", count)
        names = iter(range(count))

        def predict(image: Picture) -> Picture:
            stem = f"scene_{next(names):02d}"
            write_png(self.out / f"{stem}_image.png", image)
            return self.segment(image, self.out / f"{stem}_mask.png", self.out / f"{stem}_overlay.png")

        return evaluate(predict, dataset, self.model.classes)

    def images(self, patterns: list[str]) -> int:
        """Segment people's own images; returns how many could not be read."""
        failed = 0
        for image in find_images(patterns, self.out):
            try:
                self.segment(read_image(image.path), image.result(".png"), image.result("_overlay.png"))
            except FleetsegError as error:
                print(f"fleetseg: {error}", file=sys.stderr)
                failed += 1
        return failed


def main() -> int:
    """Run the demo; the exit status is 1 if an image could not be segmented."""
    parser = argparse.ArgumentParser(description="Segment built-in scenes and images with the packaged weights.")
    parser.add_argument("images", nargs="*", help="images, folders or patterns of one's own")
    parser.add_argument("--model", default="enet-camvid", help="packaged model")
    parser.add_argument("--scenes", type=int, default=8, help="how many built-in scenes")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the pictures")
    arguments = parser.parse_args()
    try:
        return run(arguments.model, arguments.scenes, arguments.images, arguments.out)
    except FleetsegError as error:
        print(f"fleetseg: {error}", file=sys.stderr)
        return error.exit_status


def run(model_name: str, scenes: int, images: list[str], out: Path) -> int:
    """Segment, write, print; see `main`."""
    started = time.perf_counter()
    model = fleetseg.load(model_name)
    demo = Demo(model, out)
    demo.model.predict(np.zeros((360, 480, 3), np.uint8))  # the first run allocates; it is not what users wait for
    print(f"{model_name} on {model.engine}, loaded in {1000 * (time.perf_counter() - started):.0f} ms")
    result = demo.scenes(scenes)
    failed = demo.images(images) if images else 0
    print_found(demo)
    print(f"latency: median {statistics.median(demo.latencies_ms):.1f} ms over {len(demo.latencies_ms)} images")
    print(f"accuracy on the {scenes} built-in scenes, which training never saw: mIoU {100 * result.scores.miou:.1f}")
    print(f"pictures: {out.resolve()} (…_overlay.png to look at, …_mask.png for programs)")
    return 1 if failed else 0


def print_found(demo: Demo) -> None:
    """Each class with its share of all pixels, the largest first."""
    shares = demo.pixels / max(1, demo.pixels.sum())
    found = [(share, name) for share, name in zip(shares, demo.model.classes, strict=True) if share > 0]
    print("classes found: " + ", ".join(f"{name} {100 * share:.1f} %" for share, name in sorted(found, reverse=True)))


__all__ = ["Demo", "main", "run"]

if __name__ == "__main__":
    sys.exit(main())
