"""How fast training is fed: Cityscapes-sized images (2048×1024 PNG, made here) read, decoded, augmented, batched.

    python benchmarks/data_reading.py [--images 24] [--workers 2] [--rounds 3] [--folder DIR]

Rounds of epochs through the training loader with windows of 1024×512, from PNG files and from both caches: memory and
a mapped file. Prints images a second by round and the median, processor seconds an image, and last one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fleetseg.available_memory import available_memory
from fleetseg.data import Augmentation, Dataset, open_dataset
from fleetseg.training.loader import TrainingSamples, training_loader
from fleetseg.training.samples import CachedSamples, cached

SIZE = (2048, 1024)
CROP = (1024, 512)
BATCH = 4


def make_folder(root: Path, images: int) -> Path:
    """Frames and labelIds in Cityscapes' layout: built-in scenes enlarged, with noise that PNG has to work on."""
    from fleetseg.data.scenes import render_scene
    from fleetseg.image import resize_image, resize_mask

    rng = np.random.default_rng(0)
    for number in range(images):
        name = f"made_{number:06d}_000019"
        image, mask = render_scene(number)
        pixels = resize_image(image, SIZE).astype(np.int16) + rng.integers(-4, 5, (SIZE[1], SIZE[0], 1), dtype=np.int16)
        for place, content in (
            (f"leftImg8bit/train/made/{name}_leftImg8bit.png", np.clip(pixels, 0, 255).astype(np.uint8)),
            (f"gtFine/train/made/{name}_gtFine_labelIds.png", np.minimum(resize_mask(mask, SIZE), 10) + 7),
        ):
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path, compress_level=6)
    return root


def processor_seconds() -> float:
    """Of this process and its finished children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def rounds_of(dataset: Dataset, workers: int, rounds: int) -> list[float]:
    """Images a second of each epoch after the first, which starts the workers."""
    augmentation = Augmentation(CROP, (0.75, 1.5), 0.5, 0.2)
    loader = training_loader(TrainingSamples(dataset, augmentation, (0,)), BATCH, workers)
    speeds = []
    for epoch in range(rounds + 1):
        loader.sampler.set_epoch(epoch)
        begin, seen = time.perf_counter(), 0
        for batch in loader:
            seen += len(batch[0])
        speeds.append(seen / (time.perf_counter() - begin))
    return speeds[1:]


def measure(name: str, dataset: Dataset, arguments: argparse.Namespace) -> dict[str, object]:
    """One line of the table."""
    begin = processor_seconds()
    speeds = rounds_of(dataset, arguments.workers, arguments.rounds)
    cost = (processor_seconds() - begin) / (len(dataset) * (arguments.rounds + 1))
    print(f"{name:8} {statistics.median(speeds):7.2f} images/s   ({', '.join(f'{speed:.2f}' for speed in speeds)})"
          f"   {cost:.3f} s of processor an image")  # fmt: skip
    return {"from": name, "images_per_second": speeds, "median": statistics.median(speeds), "cpu_seconds": cost}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the images are made, or were made before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["FLEETSEG_CACHE"] = str(Path(temporary) / "cache")
        root = arguments.folder or Path(temporary) / "images"
        if not (root / "leftImg8bit").is_dir():
            make_folder(root, arguments.images)
        files = open_dataset(root, "train")
        print(f"{len(files)} images of {SIZE[0]}×{SIZE[1]}, "
              f"{os.cpu_count()} processors, {available_memory() / 1e9:.1f} GB free")  # fmt: skip
        memory = cached(files, "memory", 1.0)
        if isinstance(memory, CachedSamples):
            memory.fill()
        results = [
            measure("PNG", files, arguments),
            measure("memory", memory, arguments),
            measure("mapped", cached(files, "disk"), arguments),
        ]
        print(json.dumps({"size": SIZE, "crop": CROP, "workers": arguments.workers, "results": results}))


if __name__ == "__main__":
    main()
