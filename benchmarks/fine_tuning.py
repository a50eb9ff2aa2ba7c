"""What fine-tuning gives over training from scratch, on few images with classes that the packaged network never had.

    python benchmarks/fine_tuning.py --data scenes --out DIR [--images 20] [--seeds 3] [--json FILE]
    python benchmarks/fine_tuning.py --data CamVid --out DIR

Images of the train split, evenly spread, and the whole val split (of scenes 50 images) are written to DIR/data with
CamVid's classes merged into three: ground, movable, still. Then the recipe fine-tune trains twice: as it is, and
from scratch for as many epochs, nothing frozen, at 2e-3, the rate of enet-camvid; both with --seeds seeds, the recipe's
own first. Printed is the mIoU on val after the last epoch: the mean over the seeds and its 95% interval (Student's t).
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import t as student_t

from fleetseg.cli import main as fleetseg
from fleetseg.data import open_dataset
from fleetseg.labels import CAMVID_11, IGNORE_INDEX

CLASSES = {
    "ground": ("Road", "Pavement"),
    "movable": ("Car", "Pedestrian", "Bicyclist"),
    "still": ("Sky", "Building", "Pole", "Tree", "SignSymbol", "Fence"),
}
#: What training from scratch changes in the recipe.
FROM_SCRATCH = (
    "init=null",
    "stages.head.freeze=[]",
    "stages.head.optimiser.learning_rate=2e-3",
    "stages.head.schedule={name: constant, warmup_epochs: 1}",
    "stages.whole.optimiser.learning_rate=2e-3",
)
#: Nothing is chosen by val: it is looked at once.
ONCE = ("stages.head.validate_every=1000", "stages.whole.validate_every=1000")


def merged(mask: np.ndarray) -> np.ndarray:
    """CamVid's class ids → ids of `CLASSES`; unlabelled stays."""
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for number, members in enumerate(CLASSES.values()):
        for name in members:
            table[CAMVID_11.names.index(name)] = number
    return table[mask]


def write_set(data: str, images: int, root: Path) -> None:
    """`images` samples of train and the val split of `data` as a folder of one's own."""
    for split in ("train", "val"):
        dataset = open_dataset("scenes:50" if data == "scenes" and split == "val" else data, split)
        chosen = np.linspace(0, len(dataset) - 1, images).astype(int) if split == "train" else range(len(dataset))
        for index in chosen:
            sample = dataset[int(index)]
            for kind, pixels in (("images", sample.image), ("labels", merged(sample.mask))):
                path = root / kind / split / f"{Path(sample.name).name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (root / "classes.yaml").write_text(f"names: [{', '.join(CLASSES)}]\n", encoding="utf-8")


def train(data: Path, out: Path, settings: tuple[str, ...]) -> float:
    """The mIoU on val in percent after the recipe's last epoch."""
    words = [word for setting in (*settings, *ONCE) for word in ("--set", setting)]
    if fleetseg(["train", "fine-tune", "--data", str(data), "--out", str(out), "--resume", *words]):
        raise SystemExit(1)
    with (out / "history.csv").open(newline="", encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["miou"])


def train_with_seeds(data: Path, out: Path, settings: tuple[str, ...], seeds: int) -> list[float]:
    """`train` with seeds 1, 2, …, each in a folder of its own."""
    return [train(data, out / f"seed-{seed}", (*settings, f"seed={seed}")) for seed in range(1, seeds + 1)]


def with_interval(values: list[float]) -> str:
    """The mean, and how far its 95% interval reaches to either side where there are at least two values."""
    mean = f"{statistics.mean(values):.1f}"
    if len(values) < 2:
        return mean
    quantile = float(student_t.ppf(0.975, len(values) - 1))
    return f"{mean} ± {quantile * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    """Measure and print a table for people and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not (arguments.out / "data").exists():
        write_set(arguments.data, arguments.images, arguments.out / "data")
    data, out, seeds = arguments.out / "data", arguments.out, arguments.seeds
    fine_tuned = train_with_seeds(data, out / "fine-tuned", (), seeds)
    from_scratch = train_with_seeds(data, out / "from-scratch", FROM_SCRATCH, seeds)
    print(f"{arguments.images} images of {arguments.data}, {seeds} seeds: mIoU fine-tuned {with_interval(fine_tuned)}")
    print(f"from scratch {with_interval(from_scratch)}")
    result = {
        "data": arguments.data,
        "images": arguments.images,
        "fine_tuned": fine_tuned,
        "from_scratch": from_scratch,
    }
    line = json.dumps(result)
    print(line)
    if arguments.json:
        arguments.json.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
