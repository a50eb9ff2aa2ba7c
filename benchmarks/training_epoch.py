"""What the loader and the loop add to a training epoch: the whole epoch beside its bare steps.

    python benchmarks/training_epoch.py --data CamVid [--recipe enet-camvid] [--rounds 3] [--json FILE]

Bare: forward, loss, backward, update of the same compiled module on one prepared batch, as often as the epoch has
batches. Whole: the same plus loading, augmentation, averaging and progress. Rounds alternate; medians are printed.
Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from fleetseg.data import Augmentation, class_statistics, class_weights, open_dataset
from fleetseg.models import build_network
from fleetseg.training.allocator import keep_freed_memory
from fleetseg.training.loader import TrainingSamples, training_loader
from fleetseg.training.module import TrainingModule
from fleetseg.training.precision import choose_precision
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.samples import CachedSamples


class Measured:
    """The last stage of a recipe, with its loader, stepping without Lightning's trainer."""

    def __init__(self, recipe_name: str, data: str) -> None:
        recipe = load_recipe(recipe_name)
        self.stage = recipe.stages[-1]
        dataset = open_dataset(data, "train")
        samples = CachedSamples(dataset)
        samples.fill(lambda items, _what: items)
        section = self.stage.augmentation
        augmentation = Augmentation(section.crop, section.scale, section.flip, section.colour)
        training = TrainingSamples(samples, augmentation, (recipe.seed, 0), recipe.data.scenes)
        self.loader = training_loader(training, self.stage.batch_size, recipe.data.workers)
        network = build_network(recipe.network.name, dataset.labels.num_classes, **recipe.network.options)
        weights = class_weights(class_statistics(dataset), self.stage.loss.class_weights, self.stage.loss.c)
        precision = choose_precision(recipe)
        self.module = TrainingModule(
            network, self.stage, recipe.normalisation, weights, len(self.loader), recipe.seed, precision
        ).train()
        self.optimiser: Any = self.module.configure_optimizers()["optimizer"]

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        """One forward, backward and update."""
        loss = self.module.training_step(batch, 0)
        assert loss is not None
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def bare(self, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Seconds of an epoch's steps on one batch that is there already."""
        started = time.perf_counter()
        for _ in range(len(self.loader)):
            self.step(batch)
        return time.perf_counter() - started

    def whole(self) -> float:
        """Seconds of an epoch with everything."""
        started = time.perf_counter()
        for batch in self.loader:
            self.step(batch)
            self.module.on_train_batch_end()
        return time.perf_counter() - started


def main() -> None:
    """Measure and print a table for people and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="enet-camvid")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    measured = Measured(arguments.recipe, arguments.data)
    batch = next(iter(measured.loader))
    measured.step(batch)  # builds the compiled step
    rounds = [(measured.bare(batch), measured.whole()) for _ in range(arguments.rounds)]
    bare, whole = (statistics.median(values) for values in zip(*rounds, strict=True))
    result = {
        "recipe": arguments.recipe,
        "images": len(measured.loader) * measured.stage.batch_size,
        "crop": measured.stage.augmentation.crop,
        "bare_seconds": round(bare, 2),
        "epoch_seconds": round(whole, 2),
        "ratio": round(statistics.median(w / b for b, w in rounds), 3),
        "cpus": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    print(f"bare steps {bare:.1f} s, whole epoch {whole:.1f} s, ratio {result['ratio']}")
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
