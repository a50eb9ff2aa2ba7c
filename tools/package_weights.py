"""Put a training's best weights into the package: safetensors, ONNX and a model card.

    python tools/package_weights.py NAME RUN [RUN …] --data DIR --command "fleetseg train …" [--command …]

Run by the maintainers after a training, or after several of which each went on from the one before; the last one's best
weights are taken. --before mixes older ones in; --adjust then moves the classes' logits, as `fleetseg adjust` does on
the training split. Measures only on the validation split.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from cards import cell, commands_text, draw_curves, hours, scenes_text, stages_text
from torch import nn

import fleetseg
from fleetseg.adjusting import adjust
from fleetseg.atomic import write_text
from fleetseg.data import open_dataset
from fleetseg.evaluation import Evaluation, evaluate
from fleetseg.exporters.onnx import export_onnx
from fleetseg.metadata import ModelMetadata
from fleetseg.models.base import SegmentationNetwork, count_parameters
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint
from fleetseg.training.history import History

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "fleetseg" / "weights"


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="packaged name")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of the runs, in order")
    parser.add_argument("--data", required=True, help="data set whose val split is reported")
    parser.add_argument("--command", action="append", required=True, help="a run's exact command [# remark]")
    parser.add_argument("--before", type=Path, help="weights to mix in: those of an earlier run")
    parser.add_argument("--before-is", default="those of the first run's end", help="--before in the card's words")
    parser.add_argument("--share", type=float, help="--before: their share of the mixture, between 0 and 1")
    parser.add_argument("--adjust", action="store_true", help="move each class's logits for the best mIoU on train")
    parser.add_argument("--machine", default="2 cores with AVX-512 and bf16, 24 GiB")
    arguments = parser.parse_args()
    share = arguments.share
    if (arguments.before is None) != (share is None) or (share is not None and not 0 < share < 1):
        parser.error("--before FILE and --share, between 0 and 1, go together")
    network, metadata = load_checkpoint(arguments.runs[-1] / "best.safetensors")
    if arguments.before is not None:
        mix(network, load_checkpoint(arguments.before)[0], arguments.share)
    if arguments.adjust:
        network, metadata = adjusted(network, metadata, arguments.data)
    provenance = without_folders(metadata.provenance)
    metadata = metadata.model_copy(update={"name": arguments.name, "provenance": provenance})
    save_checkpoint(WEIGHTS / f"{arguments.name}.safetensors", network, metadata)
    export_onnx(network, metadata, WEIGHTS / f"{arguments.name}.onnx")
    rows = [row for run in arguments.runs for row in History(run / "history.csv").rows]
    draw_curves(rows, WEIGHTS / f"{arguments.name}-curves.png")
    model = fleetseg.load(WEIGHTS / f"{arguments.name}.onnx")
    real = evaluate(model, open_dataset(arguments.data, "val"), model.classes)
    scenes = evaluate(model, open_dataset("scenes:200", "val"), model.classes)
    card = model_card(arguments, metadata, count_parameters(network), rows, real, scenes)
    write_text(WEIGHTS / f"{arguments.name}.md", card)
    print(card)


def without_folders(value: Any) -> Any:
    """The same with only the last part of every absolute path: users have no use for the maintainers' folders."""
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_folders(entry) for entry in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


@torch.no_grad()
def mix(network: nn.Module, before: nn.Module, share: float) -> None:
    """Let `share` of the weights and running statistics be those of `before` (Wortsman et al., arXiv 2109.01903).

    A network that went on with narrower data keeps most of what it gained and gets back most of what it lost elsewhere.
    """
    old = before.state_dict()
    for name, new in network.state_dict().items():
        if new.is_floating_point():
            new.lerp_(old[name], share)


def adjusted(
    network: SegmentationNetwork, metadata: ModelMetadata, data: str
) -> tuple[SegmentationNetwork, ModelMetadata]:
    """The network as `fleetseg adjust` writes it, for the training split of `data`."""
    with tempfile.TemporaryDirectory(prefix="fleetseg-") as folder:
        path, out = Path(folder) / "before.safetensors", Path(folder) / "after.safetensors"
        save_checkpoint(path, network, metadata)
        found = adjust(str(path), fleetseg.load(path), open_dataset(data, "train"), out)
        print(found.shifts)
        return load_checkpoint(out)


def model_card(
    arguments: argparse.Namespace,
    metadata: ModelMetadata,
    parameters: int,
    rows: list[dict[str, str]],
    real: Evaluation,
    scenes: Evaluation,
) -> str:
    """Markdown: what it is, how it was made, what it scores, what one may do with it."""
    name, provenance = arguments.name, metadata.provenance
    options = ", ".join(f"{key} = {value}" for key, value in metadata.network.options.items()) or "defaults"
    classes = "\n".join(
        f"| {label} | {cell(iou)} | {cell(accuracy)} | {cell(scene_iou)} |"
        for label, iou, accuracy, scene_iou in zip(
            real.labels.names, real.scores.iou, real.scores.accuracy, scenes.scores.iou, strict=True
        )
    )
    recipes = [yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8")) for run in arguments.runs]
    mixture = f"; {arguments.share:.0%} of them are {arguments.before_is}" if arguments.before else ""
    mixture += "; each class's logit was then moved by a constant found on train" if arguments.adjust else ""
    interval = real.interval()
    seeds = ", ".join(str(recipe["seed"]) for recipe in recipes)
    return f"""# {name}

{metadata.network.name} ({options}), {len(metadata.classes)} classes, {parameters:,} parameters.
Files: `{name}.safetensors` (weights), `{name}.onnx` (height and width free), both with their metadata inside.

## How it was made
{commands_text(arguments.command)}

- Stages: {stages_text(rows)}. {hours(rows):.2f} hours in epochs on {arguments.machine}, shared with other
  work at the time.
- fleetseg {provenance["fleetseg"]}, torch {provenance["torch"]}, seed {seeds}.
- Data: CamVid train (367 images, 480×360, SegNet's copy) and {scenes_text(recipes)} built-in
  scenes an epoch. The weights are those of epoch {provenance["epoch"]} of stage {provenance["stage"]}, the best
  on val{mixture}. No test set was used for anything.

![curves]({name}-curves.png)

## What it scores
CamVid val (101 images, unlabelled pixels ignored, one confusion matrix; `fleetseg evaluate {name} --data DIR`):
**mIoU {cell(real.scores.miou)}** (95% interval over images {cell(interval.low)} to {cell(interval.high)}; one seed),
class average accuracy {cell(real.scores.class_average_accuracy)}, global accuracy {cell(real.scores.global_accuracy)}.
200 unseen built-in scenes (`fleetseg evaluate {name} --data scenes:200`):
**mIoU {cell(scenes.scores.miou)}**, global accuracy {cell(scenes.scores.global_accuracy)}.

| class | IoU, CamVid val | accuracy, CamVid val | IoU, scenes |
|---|---|---|---|
{classes}

## What one may do with it
The weights were trained on CamVid's images, which SegNet's copy releases under CC BY-NC 4.0: **research and
personal use only, no commercial use**. The code is MIT. One camera, one town, daylight: do not rely on it for
safety, and expect less on other streets; train on your own images for those.
"""


if __name__ == "__main__":
    main()
