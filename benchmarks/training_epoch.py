"""What a training epoch costs: all of it, its bare steps, and the plain float32 steps it replaces.

    python benchmarks/training_epoch.py --data CamVid [--recipe enet-camvid] [--rounds 3] [--json FILE]

At 480×360 and a batch of 10 unless said otherwise; each epoch is the training split once.

whole   an epoch as `fleetseg train` runs it, validation apart: loader, augmentation, Lightning's loop, averaged
        weights, progress, history and resume point
bare    forward, loss, backward and update of the same compiled module on one prepared batch, as often
plain   the same network as one would write it down: float32, contiguous, not compiled, Adam as PyTorch chooses it,
        no averaging; four steps, scaled to the epoch

The three take turns in one process; medians over the rounds are printed. Nothing else may run meanwhile.
"""

# ruff: noqa: ARG002 - the hooks' parameters are Lightning's
from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from fleetseg.data import open_dataset
from fleetseg.labels import IGNORE_INDEX
from fleetseg.models import build_network
from fleetseg.training.allocator import keep_freed_memory
from fleetseg.training.module import TrainingModule
from fleetseg.training.quiet import quiet_libraries
from fleetseg.training.recipe import Recipe
from fleetseg.training.recipe_file import load_recipe
from fleetseg.training.run import Run

Batch = tuple[torch.Tensor, torch.Tensor]


class PlainSteps:
    """The network in float32, contiguous, eager: what one would write without thinking of speed."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        self.network = build_network(recipe.network.name, classes, **recipe.network.options).train()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=5e-4, weight_decay=2e-4)

    def seconds(self, batch: Batch, class_weights: torch.Tensor, steps: int) -> float:
        """Of `steps` steps on a normalised batch."""
        images, target = batch
        images = images.contiguous()
        started = time.perf_counter()
        for _ in range(steps):
            self.optimiser.zero_grad()
            logits = self.network(images)
            F.cross_entropy(logits, target.long(), class_weights, ignore_index=IGNORE_INDEX).backward()
            self.optimiser.step()
        return time.perf_counter() - started


class Rounds(pl.Callback):
    """At the end of each epoch: its seconds, then the bare and the plain steps'.

    The first epoch, which compiles, does not count.
    """

    def __init__(self, count: int, plain: PlainSteps, plain_steps: int) -> None:
        self.count = count
        self.plain = plain
        self.plain_steps = plain_steps
        self.batch: Batch | None = None
        self.seconds: list[tuple[float, float, float]] = []
        self.started = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Keep one batch."""
        if self.batch is None:
            self.batch = (batch[0].clone(), batch[1].clone())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Runs after `EpochEnd`, so that history and resume point are part of the epoch."""
        whole = time.perf_counter() - self.started
        assert isinstance(pl_module, TrainingModule) and self.batch is not None
        if self.started:
            bare = bare_seconds(pl_module, trainer.optimizers[0], self.batch, trainer.num_training_batches)
            values = pl_module.normalise(self.batch[0])
            plain = self.plain.seconds((values, self.batch[1]), pl_module.class_weights, self.plain_steps)
            plain *= trainer.num_training_batches / self.plain_steps
            self.seconds.append((whole, bare, plain))
            trainer.should_stop = len(self.seconds) == self.count
            print(f"epoch {whole:.1f} s, bare steps {bare:.1f} s, plain steps {plain:.1f} s", flush=True)
        self.started = time.perf_counter()


def bare_seconds(module: TrainingModule, optimiser: Any, batch: Batch, steps: int) -> float:
    """Forward, loss, backward and update, nothing else."""
    optimiser = getattr(optimiser, "optimizer", optimiser)
    images, target = module.normalise(batch[0]), batch[1].long()
    started = time.perf_counter()
    for _ in range(steps):
        module._loss(images, target).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return time.perf_counter() - started


class MeasuredRun(Run):
    """A run whose epochs are measured and never validated."""

    def __init__(self, recipe: Recipe, data: str, out: Path, rounds: Rounds) -> None:
        super().__init__(recipe, data, out)
        self.rounds = rounds

    def _callbacks(self, *arguments: Any) -> list[pl.Callback]:
        return [*super()._callbacks(*arguments), self.rounds]


def measured_recipe(name: str, size: tuple[int, int], batch: int) -> Recipe:
    """The recipe's last stage alone, on the data's images alone, without its teacher, whose steps cost their own time.

    It is so long that its end, which validates, never comes.
    """
    recipe = load_recipe(name)
    last = recipe.stages[-1]
    augmentation = last.augmentation.model_copy(update={"crop": size})
    changes = {"epochs": 1000, "batch_size": batch, "augmentation": augmentation, "validate_every": 1000}
    changes |= {"distillation": None}
    data = recipe.data.model_copy(update={"scenes": 0})
    return recipe.model_copy(update={"stages": (last.model_copy(update=changes),), "data": data})


def main() -> None:
    """Measure and print a table for people and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="enet-camvid")
    parser.add_argument("--size", default="480x360")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-steps", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    width, height = (int(side) for side in arguments.size.split("x"))
    recipe = measured_recipe(arguments.recipe, (width, height), arguments.batch)
    classes = open_dataset(arguments.data, "train").labels.num_classes
    rounds = Rounds(arguments.rounds, PlainSteps(recipe, classes), arguments.plain_steps)
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        MeasuredRun(recipe, arguments.data, Path(folder) / "run", rounds).execute()
    report(arguments, recipe, rounds, len(open_dataset(arguments.data, "train")))


def report(arguments: argparse.Namespace, recipe: Recipe, rounds: Rounds, images: int) -> None:
    """Medians, and the two ratios that are asked for: of each round, then their median."""
    whole, bare, plain = (statistics.median(values) for values in zip(*rounds.seconds, strict=True))
    result = {
        "recipe": recipe.name,
        "network": recipe.network.name,
        "size": arguments.size,
        "batch": arguments.batch,
        "images": images // arguments.batch * arguments.batch,
        "epoch_seconds": round(whole, 2),
        "bare_seconds": round(bare, 2),
        "plain_seconds": round(plain, 2),
        "epoch_to_bare": round(statistics.median(w / b for w, b, _ in rounds.seconds), 3),
        "epoch_to_plain": round(statistics.median(w / p for w, _, p in rounds.seconds), 3),
        "rounds": [[round(value, 3) for value in one] for one in rounds.seconds],
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    print(f"epoch to bare steps {result['epoch_to_bare']} (asked: at most 1.10)", file=sys.stderr)
    print(f"epoch to plain float32 {result['epoch_to_plain']} (asked: at most 0.5)", file=sys.stderr)
    print(json.dumps(result))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
